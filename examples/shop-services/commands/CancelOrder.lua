return {
    stream = function(command)
        assert(type(command.order) == "string" and command.order ~= "", "order: a text is needed")
        return "order-" .. command.order
    end,
    decide = function(state, command)
        if state.status ~= "placed" then
            return refuse("not-placed", "order " .. command.order .. " is " .. state.status)
        end
        return event("OrderCancelled", { order = command.order })
    end,
}
