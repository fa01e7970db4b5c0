-- daybook do Open '{"account":"123"}'
return {
    stream = function(command)
        assert(type(command.account) == "string" and command.account ~= "", "account: a text is needed")
        return "account-" .. command.account
    end,
    decide = function(state, command)
        if state.status ~= "none" then
            return refuse("open-already", "account " .. command.account .. " is open already")
        end
        return event("AccountOpened", { id = command.account })
    end,
}
