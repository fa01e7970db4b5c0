CREATE TABLE customers (
    customer_id TEXT PRIMARY KEY,
    name TEXT,
    street TEXT,
    orders INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX customers_by_name ON customers (name);
