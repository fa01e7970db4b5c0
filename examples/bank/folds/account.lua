-- The state of an account: what its events add up to. Deposits of version 1 come with a currency,
-- too: events/Deposited.schema.json says which.
return {
    initial = { balance = 0, currency = "USD", status = "none" },
    snapshot = { every = 1000 },
    on = {
        AccountOpened = function(state, data)
            state.id = data.id
            state.status = "active"
        end,
        Deposited = function(state, data)
            state.balance = state.balance + data.amount
            state.currency = data.currency or state.currency
        end,
        OwnerNamed = function(state, data)
            state.owner = data.owner
        end,
        Withdrawn = function(state, data)
            state.balance = state.balance - data.amount
        end,
    },
}
