-- An order is confirmed when its goods are reserved and paid for; else all of it is undone.
local function by_order(data)
    return data.order
end

local function key(state)
    return state.order
end

return {
    unmatched = "ignore",
    initial = {},
    on = {
        OrderPlaced = {
            by = by_order,
            starts = true,
            run = function(_, data)
                return { order = data.order, sku = data.sku, count = data.count,
                         amount = data.amount },
                       { step("reject"), step("reserve") }
            end,
        },
    },
    steps = {
        -- Sends nothing forward: its way back tells the order that it came to nothing. It begins
        -- first, and so is undone last.
        reject = {
            send = function(state)
                return event("CheckoutBegun", { order = state.order },
                             { stream = "checkout-" .. state.order })
            end,
            undo = function(state, _, why)
                return event("OrderRejected", { order = state.order, why = why },
                             { stream = "order-" .. state.order })
            end,
            timeout = "10 s",
            key = key,
        },
        reserve = {
            send = function(state)
                return command("ReserveStock",
                               { sku = state.sku, count = state.count, order = state.order })
            end,
            undo = function(state)
                return command("ReleaseStock", { sku = state.sku, order = state.order })
            end,
            timeout = "10 s",
            retry = { tries = 5, delay = "100 ms", max = "2 s" },
            key = key,
            after = function(state)
                return state, { step("pay") }
            end,
        },
        pay = {
            send = function(state)
                return http("payment", "POST", "/charges",
                            { order = state.order, amount = state.amount })
            end,
            undo = function(state)
                return http("payment", "POST", "/refunds", { order = state.order })
            end,
            timeout = "2 s",
            retry = { tries = 8, delay = "100 ms", max = "2 s" },
            key = key,
            after = function(state, reply)
                state.charge = reply.charge
                return state, { step("confirm") }
            end,
        },
        confirm = {
            send = function(state)
                return event("OrderConfirmed", { order = state.order, charge = state.charge },
                             { stream = "order-" .. state.order })
            end,
            undo = none,
            timeout = "10 s",
            key = key,
            after = function(state)
                return state, { complete() }
            end,
        },
    },
    samples = {
        OrderPlaced = { order = "o1", sku = "tea", count = 2, amount = 950 },
        pay = function(state) return { charge = "c-" .. state.order } end,
    },
}
