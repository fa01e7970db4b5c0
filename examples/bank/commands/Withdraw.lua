-- daybook do Withdraw '{"account":"123","amount":30}'
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
        if state.balance < command.amount then
            return refuse("balance-short",
                "the balance is " .. state.balance .. ", " .. command.amount .. " were asked for")
        end
        return event("Withdrawn", { amount = command.amount })
    end,
}
