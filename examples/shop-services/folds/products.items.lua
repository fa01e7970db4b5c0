-- A product's newest image, as the catalogue had it.
local function show(state, data)
    state.title = data.new.title
    state.picture = data.new.picture
end

return {
    initial = { title = null, picture = null },
    on = {
        ["items.insert"] = show,
        ["items.update"] = show,
        ["items.delete"] = function(state)
            state.title = null
            state.picture = null
        end,
    },
}
