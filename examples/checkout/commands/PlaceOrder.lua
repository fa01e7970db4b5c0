return {
    stream = function(command) return "order-" .. command.order end,
    decide = function(state, command)
        if state.status ~= "none" then
            return refuse("order-exists", "order " .. command.order .. " is there already")
        end
        return event("OrderPlaced", { order = command.order, sku = command.sku,
                                      count = command.count, amount = command.amount })
    end,
}
