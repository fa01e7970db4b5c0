-- daybook do PlaceOrder '{"order":"7","customer":3,"lines":[{"product":"mug","quantity":2,"cents":950}]}'
local function whole(value)
    return math.type(value) == "integer" and value >= 0
end

return {
    stream = function(command)
        assert(type(command.order) == "string" and command.order ~= "", "order: a text is needed")
        return "order-" .. command.order
    end,
    decide = function(state, command)
        if state.status ~= "none" then
            return refuse("placed-already", "order " .. command.order .. " is placed already")
        end
        if type(command.lines) ~= "table" or #command.lines == 0 or not whole(command.customer) then
            return refuse("order-invalid", "a customer's number and at least one line are needed")
        end
        local events = { event("OrderPlaced", { order = command.order, customer = command.customer }) }
        for i, line in ipairs(command.lines) do
            if type(line.product) ~= "string" or not whole(line.quantity) or not whole(line.cents) then
                return refuse("line-invalid", "line " .. i .. ": product, quantity and cents are needed")
            end
            events[i + 1] = event("LineAdded", {
                order = command.order, product = line.product, quantity = line.quantity,
                cents = line.cents, amount = line.quantity * line.cents,
            })
        end
        return events
    end,
}
