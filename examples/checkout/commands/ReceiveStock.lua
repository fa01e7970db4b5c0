return {
    stream = function(command) return "stock-" .. command.sku end,
    decide = function(_, command)
        return event("StockReceived", { sku = command.sku, count = command.count })
    end,
}
