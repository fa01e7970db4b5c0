-- daybook do Deposit '{"account":"123","amount":50}'
-- An account has one currency: that of its first deposit.
return {
    stream = function(command)
        local kind = math.type(command.account) or type(command.account)
        assert(kind == "integer" or kind == "string" and command.account ~= "",
            "account: a text or a whole number is needed")
        return "account-" .. command.account
    end,
    decide = function(state, command)
        if math.type(command.amount) ~= "integer" or command.amount <= 0 then
            return refuse("amount-invalid", "amount: a positive whole number is needed")
        end
        if state.status ~= "active" then
            return refuse("not-open", "account " .. command.account .. " is not open")
        end
        local currency = command.currency or state.currency
        if type(currency) ~= "string" or not currency:find("^%u%u%u$") then
            return refuse("currency-invalid", "currency: three capital letters are needed")
        end
        if state.balance > 0 and currency ~= state.currency then
            return refuse("currency-other", "the account is kept in " .. state.currency)
        end
        return event("Deposited", { amount = command.amount, currency = currency })
    end,
}
