CREATE TABLE balances (
    account TEXT PRIMARY KEY,
    balance INTEGER NOT NULL CHECK (balance >= 0),
    changed TEXT NOT NULL
);
