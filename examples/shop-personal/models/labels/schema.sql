CREATE TABLE labels (
    order_id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL,
    name TEXT
);
