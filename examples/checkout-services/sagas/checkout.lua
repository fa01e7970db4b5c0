-- An order is confirmed when its price is held at the users', its goods are reserved at the
-- products', it is paid for, and shipped; else all of it is undone, and the order rejected.
local function key(state)
    return state.order
end

local patient = { tries = 6, delay = "100 ms", max = "1 s" }

return {
    unmatched = "ignore",
    on = {
        OrderPlaced = {
            by = function(data) return data.order end,
            starts = true,
            run = function(_, data)
                return { order = data.order, person = data.person, sku = data.sku,
                         count = data.count, amount = data.amount },
                       { step("reject"), step("hold") }
            end,
        },
    },
    steps = {
        -- Sends nothing that matters forward: its way back tells the order that it came to
        -- nothing. It begins first, and so is undone last.
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
        -- users, in PostgreSQL: a transaction
        hold = {
            send = function(state)
                return command("HoldCredit", { order = state.order, person = state.person,
                                               amount = state.amount })
            end,
            undo = function(state)
                return command("FreeCredit", { order = state.order, person = state.person })
            end,
            timeout = "10 s",
            retry = patient,
            key = key,
            after = function(state) return state, { step("reserve") } end,
        },
        -- products, in MongoDB: one document
        reserve = {
            send = function(state)
                return command("ReserveStock", { sku = state.sku, order = state.order,
                                                 count = state.count, change = -state.count })
            end,
            undo = function(state)
                return command("ReleaseStock", { sku = state.sku, order = state.order,
                                                 count = state.count })
            end,
            timeout = "10 s",
            retry = patient,
            key = key,
            after = function(state) return state, { step("pay") } end,
        },
        -- payment, behind HTTP
        pay = {
            send = function(state)
                return http("payment", "POST", "/charges",
                            { order = state.order, amount = state.amount })
            end,
            undo = function(state)
                return http("payment", "POST", "/refunds", { order = state.order })
            end,
            timeout = "2 s",
            retry = patient,
            key = key,
            after = function(state, reply)
                state.charge = reply.charge
                return state, { step("ship") }
            end,
        },
        ship = {
            send = function(state)
                return command("ShipGoods", { sku = state.sku, order = state.order,
                                              count = state.count })
            end,
            undo = function(state)
                return command("TakeBackGoods", { sku = state.sku, order = state.order,
                                                  count = state.count, change = -state.count })
            end,
            timeout = "10 s",
            retry = patient,
            key = key,
            after = function(state) return state, { step("confirm") } end,
        },
        confirm = {
            send = function(state)
                return event("OrderConfirmed", { order = state.order, charge = state.charge },
                             { stream = "order-" .. state.order })
            end,
            undo = none,
            timeout = "10 s",
            key = key,
            after = function(state) return state, { complete() } end,
        },
    },
    samples = {
        OrderPlaced = { order = "o1", person = "anna", sku = "tea", count = 2, amount = 950 },
        pay = function(state) return { charge = "c-" .. state.order } end,
    },
}
