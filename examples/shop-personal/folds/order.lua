-- The state of an order, with whom it goes to. Prices are exact decimals.
local function add(state, data)
    state.lines = state.lines + 1
    state.total = state.total + data.price * data.quantity
end

local function begin(state, data)
    state.customer_id = data.customer_id
    state.customer_name = data.customer_name
    state.address = data.address
end

return {
    initial = { customer_id = null, customer_name = null, address = null, lines = 0, total = 0 },
    snapshot = { every = 4 },
    on = { OrderPlaced = begin, ReturnPlaced = begin, LineAdded = add, LineReturned = add },
}
