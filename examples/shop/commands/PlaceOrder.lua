-- daybook do PlaceOrder '{"order_id":"900001","customer_id":"42","country":"France",
--     "lines":[{"stock_code":"22139","description":"TEA SET","quantity":2,"price":4.25}]}'
local function text(value)
    return type(value) == "string" and value ~= ""
end

local function fault(line)
    if not text(line.stock_code) then
        return "stock_code: a text is needed"
    elseif math.type(line.quantity) ~= "integer" or line.quantity <= 0 then
        return "quantity: a positive whole number is needed"
    elseif math.type(line.price) ~= "integer" and type(line.price) ~= "userdata" then
        return "price: a number is needed"
    elseif line.price < 0 then
        return "price: it is below zero"
    end
end

return {
    stream = function(command)
        assert(text(command.order_id), "order_id: a text is needed")
        return "order-" .. command.order_id
    end,
    decide = function(state, command)
        if state.status ~= "none" then
            return refuse("placed-already", "order " .. command.order_id .. " is placed already")
        end
        if not text(command.customer_id) or not text(command.country) then
            return refuse("order-invalid", "customer_id and country: texts are needed")
        end
        if type(command.lines) ~= "table" or #command.lines == 0 then
            return refuse("order-empty", "lines: at least one is needed")
        end
        local events = { event("OrderPlaced", {
            order_id = command.order_id, customer_id = command.customer_id, country = command.country,
        }) }
        for i, line in ipairs(command.lines) do
            local what = fault(line)
            if what then
                return refuse("line-invalid", "line " .. i .. ": " .. what)
            end
            events[i + 1] = event("LineAdded", {
                order_id = command.order_id, country = command.country,
                stock_code = line.stock_code, description = line.description or null,
                category = line.category or "other", quantity = line.quantity, price = line.price,
            })
        end
        return events
    end,
}
