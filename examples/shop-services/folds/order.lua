return {
    initial = { status = "none", customer = null },
    on = {
        OrderPlaced = function(state, data)
            state.status = "placed"
            state.customer = data.customer
        end,
        OrderCancelled = function(state)
            state.status = "cancelled"
        end,
    },
}
