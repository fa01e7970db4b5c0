-- Releasing what was never reserved is no fault: the saga may not know whether it was.
return {
    stream = function(command) return "stock-" .. command.sku end,
    decide = function(state, command)
        local count = state.reserved[command.order]
        if count == nil then
            return {}
        end
        return event("StockReleased",
                     { sku = command.sku, count = count, order = command.order })
    end,
}
