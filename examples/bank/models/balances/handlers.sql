-- on: AccountOpened
INSERT INTO balances (account, balance, changed) VALUES (:id, 0, :_time);

-- on: Deposited
UPDATE balances SET balance = balance + :amount, currency = coalesce(:currency, currency),
    changed = :_time
WHERE account = substr(:_stream, length('account-') + 1);

-- on: Withdrawn
UPDATE balances SET balance = balance - :amount, changed = :_time
WHERE account = substr(:_stream, length('account-') + 1);
