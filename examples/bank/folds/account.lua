-- The state of an account: what its events add up to.
return {
    initial = { balance = 0, status = "none" },
    snapshot = { every = 1000 },
    on = {
        AccountOpened = function(state, data)
            state.id = data.id
            state.status = "active"
        end,
        Deposited = function(state, data)
            state.balance = state.balance + data.amount
        end,
        Withdrawn = function(state, data)
            state.balance = state.balance - data.amount
        end,
    },
}
