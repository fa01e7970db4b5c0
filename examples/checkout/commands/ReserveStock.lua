return {
    stream = function(command) return "stock-" .. command.sku end,
    decide = function(state, command)
        if state.on_hand < command.count then
            return refuse("out-of-stock", "only " .. state.on_hand .. " of " .. command.sku ..
                          " are on hand")
        end
        return event("StockReserved",
                     { sku = command.sku, count = command.count, order = command.order })
    end,
}
