-- The state of an order. Prices are exact decimals, so the total is exact, too.
local function add(state, data)
    state.lines = state.lines + 1
    state.total = state.total + data.price * data.quantity
end

local function begin(status)
    return function(state, data)
        state.order_id = data.order_id
        state.customer_id = data.customer_id
        state.country = data.country
        state.status = status
    end
end

return {
    initial = {
        order_id = null, customer_id = null, country = null, status = "none", lines = 0, total = 0,
    },
    snapshot = { every = 1000 },
    on = {
        OrderPlaced = begin("placed"),
        ReturnPlaced = begin("returned"),
        LineAdded = add,
        LineReturned = add,
        OrderCancelled = function(state)
            state.status = "cancelled"
        end,
    },
}
