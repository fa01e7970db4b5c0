-- What is on hand of one product, and what is reserved for which order.
return {
    initial = { on_hand = 0, reserved = {} },
    on = {
        StockReceived = function(state, data)
            state.on_hand = state.on_hand + data.count
            return state
        end,
        StockReserved = function(state, data)
            state.on_hand = state.on_hand - data.count
            state.reserved[data.order] = data.count
            return state
        end,
        StockReleased = function(state, data)
            state.on_hand = state.on_hand + data.count
            state.reserved[data.order] = nil
            return state
        end,
    },
    snapshot = { every = 100 },
}
