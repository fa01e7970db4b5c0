-- The Online Retail data set (UCI, CC BY 4.0), a row a line of an invoice:
-- InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
--
-- An invoice is the stream order-<InvoiceNo>. Its first line in the file also gives OrderPlaced, or
-- ReturnPlaced where the number begins with C; lines of one invoice are not always together.
local seen = {}

-- The first keyword found in a description names its category.
local keywords = {
    { "LIGHT", "lighting" }, { "CANDLE", "lighting" }, { "LANTERN", "lighting" },
    { "LAMP", "lighting" }, { "MUG", "kitchen" }, { "CUP", "kitchen" }, { "TEA", "kitchen" },
    { "CAKE", "kitchen" }, { "BOWL", "kitchen" }, { "PLATE", "kitchen" }, { "JAR", "kitchen" },
    { "BOTTLE", "kitchen" }, { "BAG", "bags" }, { "CARD", "stationery" }, { "PAPER", "stationery" },
    { "NOTEBOOK", "stationery" }, { "PENCIL", "stationery" }, { "WRAP", "stationery" },
    { "CHRISTMAS", "season" }, { "EASTER", "season" }, { "GARDEN", "garden" },
    { "PLANT", "garden" }, { "TOY", "toys" }, { "DOLL", "toys" }, { "GAME", "toys" },
    { "JIGSAW", "toys" }, { "CLOCK", "home" }, { "SIGN", "home" }, { "FRAME", "home" },
    { "CUSHION", "home" }, { "HEART", "home" }, { "BOX", "home" },
}
local categories = {} -- of descriptions met before

local function category_of(description)
    local known = categories[description]
    if known then
        return known
    end
    known = "other"
    for _, pair in ipairs(keywords) do
        if string.find(description, pair[1], 1, true) then
            known = pair[2]
            break
        end
    end
    categories[description] = known
    return known
end

local function whole(text, name)
    if #text > 10 or not string.find(text, "^%-?%d+$") then
        error(name .. ": \"" .. text .. "\" is no whole number of at most ten digits", 0)
    end
    return math.tointeger(tonumber(text))
end

-- The read model and the views count in thousandths, so that their sums are exact.
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
                description = row.Description ~= "" and row.Description or null,
                category = category_of(row.Description),
                quantity = whole(row.Quantity, "Quantity"),
                price = price(row.UnitPrice, "UnitPrice"),
            },
        }
        if seen[invoice] then
            return line
        end
        local customer = null
        if row.CustomerID ~= "" then
            customer = string.gsub(row.CustomerID, "%.0$", "")
        end
        return {
            {
                stream = stream,
                type = returned and "ReturnPlaced" or "OrderPlaced",
                occurred = row.InvoiceDate,
                data = { order_id = invoice, customer_id = customer, country = row.Country },
            },
            line,
        }, function()
            seen[invoice] = true -- not where the row is rejected: then the next line is the first
        end
    end,
}
