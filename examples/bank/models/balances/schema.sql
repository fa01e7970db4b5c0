CREATE TABLE balances (
    account TEXT PRIMARY KEY,
    balance INTEGER NOT NULL CHECK (balance >= 0 AND typeof(balance) = 'integer'),
    changed TEXT NOT NULL
);
