-- daybook do Open '{"account":"123"}'
return {
    stream = function(command)
        local kind = math.type(command.account) or type(command.account)
        assert(kind == "integer" or kind == "string" and command.account ~= "",
            "account: a text or a whole number is needed")
        return "account-" .. command.account
    end,
    decide = function(state, command)
        if state.status ~= "none" then
            return refuse("open-already", "account " .. command.account .. " is open already")
        end
        return event("AccountOpened", { id = tostring(command.account) })
    end,
}
