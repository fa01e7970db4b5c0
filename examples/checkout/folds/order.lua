return {
    initial = { status = "none" },
    on = {
        OrderPlaced = function(state, data)
            state.status = "placed"
            state.sku, state.count, state.amount = data.sku, data.count, data.amount
            return state
        end,
        OrderConfirmed = function(state)
            state.status = "confirmed"
            return state
        end,
        OrderRejected = function(state, data)
            state.status = "rejected"
            state.why = data.why
            return state
        end,
    },
}
