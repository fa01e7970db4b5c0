-- The same rows from what the service says in its outbox: an event is whole, so there is nothing to put together.
CREATE TABLE user_orders_by_outbox (
    order_id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL,
    status TEXT NOT NULL,
    total INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    items TEXT NOT NULL
);
CREATE INDEX user_orders_by_outbox_by_user ON user_orders_by_outbox (user_id, created_at);
