-- A row is one event, or several alike: {"account":"456","type":"Deposited","amount":5,"times":999}.
-- They are from before deposits had a currency: version 1.
return {
    map = function(row)
        local events = {}
        local data = { amount = row.amount }
        if row.type == "AccountOpened" then
            data = { id = row.account }
        end
        for i = 1, row.times or 1 do
            events[i] = { stream = "account-" .. row.account, type = row.type, data = data,
                schema_version = 1, occurred = row.occurred }
        end
        return events
    end,
}
