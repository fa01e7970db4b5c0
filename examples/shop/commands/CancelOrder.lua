-- daybook do CancelOrder '{"order_id":"900001"}'
return {
    stream = function(command)
        local kind = math.type(command.order_id) or type(command.order_id)
        assert(kind == "integer" or kind == "string" and command.order_id ~= "",
            "order_id: a text or a whole number is needed")
        return "order-" .. command.order_id
    end,
    decide = function(state, command)
        if state.status == "none" then
            return refuse("not-placed", "there is no order " .. command.order_id)
        elseif state.status ~= "placed" then
            return refuse("not-open", "order " .. command.order_id .. " is " .. state.status)
        end
        return event("OrderCancelled", { order_id = tostring(command.order_id) })
    end,
}
