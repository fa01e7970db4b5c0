-- A user's newest image, as the user service told it.
local function show(state, data)
    state.name = data.new.name
end

return {
    initial = { name = null },
    on = {
        ["people.insert"] = show,
        ["people.update"] = show,
        ["people.delete"] = function(state)
            state.name = null
        end,
    },
}
