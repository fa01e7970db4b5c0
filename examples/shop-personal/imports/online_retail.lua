-- The Online Retail data set (UCI, CC BY 4.0), a row a line of an invoice, with customers' names and
-- addresses made from their numbers: the file has none.
--
-- An invoice is the stream order-<InvoiceNo>. Its first line in the file also gives OrderPlaced (or
-- ReturnPlaced), where it has a customer.
local seen = {}

local function whole(text, name)
    if #text > 10 or not string.find(text, "^%-?%d+$") then
        error(name .. ": \"" .. text .. "\" is no whole number of at most ten digits", 0)
    end
    return math.tointeger(tonumber(text))
end

local function price(text, name)
    if #text > 12 or not string.find(text, "^%-?%d+%.?%d?%d?%d?$") then
        error(name .. ": \"" .. text .. "\" is no amount with at most three decimals", 0)
    end
    return decimal(text)
end

return {
    map = function(row)
        local invoice = row.InvoiceNo
        if invoice == "" then
            error("InvoiceNo: it is empty", 0)
        end
        local stream = "order-" .. invoice
        local returned = string.sub(invoice, 1, 1) == "C"
        local line = {
            stream = stream,
            type = returned and "LineReturned" or "LineAdded",
            occurred = row.InvoiceDate,
            data = {
                order_id = invoice,
                country = row.Country,
                stock_code = row.StockCode,
                quantity = whole(row.Quantity, "Quantity"),
                price = price(row.UnitPrice, "UnitPrice"),
            },
        }
        if seen[invoice] or row.CustomerID == "" then
            return line
        end
        local customer = string.gsub(row.CustomerID, "%.0$", "")
        return {
            {
                stream = stream,
                type = returned and "ReturnPlaced" or "OrderPlaced",
                occurred = row.InvoiceDate,
                data = {
                    order_id = invoice,
                    customer_id = customer,
                    customer_name = "Nadia <" .. customer .. "> Novak",
                    address = { street = "Elm <" .. customer .. "> Road", city = "Norwich" },
                    country = row.Country,
                },
            },
            line,
        }, function()
            seen[invoice] = true
        end
    end,
}
