-- daybook get GetBalance account=123
SELECT account, balance, changed FROM balances WHERE account = :account
