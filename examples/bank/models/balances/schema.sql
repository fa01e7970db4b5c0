CREATE TABLE balances (
    account TEXT PRIMARY KEY,
    balance INTEGER NOT NULL CHECK (balance >= 0 AND typeof(balance) = 'integer'),
    currency TEXT NOT NULL DEFAULT 'USD',
    changed TEXT NOT NULL
);
