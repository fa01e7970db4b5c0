-- One row an order, made for "my orders": everything the page shows, no join.
CREATE TABLE user_orders (
    order_id TEXT PRIMARY KEY,
    user_id INTEGER,
    status TEXT,
    total INTEGER,
    created_at TEXT,
    items TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX user_orders_by_user ON user_orders (user_id, created_at);
-- What the items are made of. Polled tables are read one after the other: a line may come before its order or product.
CREATE TABLE product_names (
    product_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    image_url TEXT
);
CREATE TABLE order_lines (
    order_id TEXT NOT NULL,
    product_id TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    price INTEGER NOT NULL,
    PRIMARY KEY (order_id, product_id)
);
CREATE INDEX order_lines_by_product ON order_lines (product_id);
