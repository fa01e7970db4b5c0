-- One row an order, made for "my orders": everything the page shows, no join.
-- Money is counted in thousandths, so sums are exact; `total` shows it. `items` is a JSON array;
-- lines are put behind each other in item_list, so that a new one costs no parsing of the others.
CREATE TABLE user_orders (
    order_id TEXT PRIMARY KEY,
    user_id TEXT,
    status TEXT NOT NULL,
    created_at TEXT NOT NULL,
    country TEXT,
    total_thousandths INTEGER NOT NULL DEFAULT 0,
    item_list TEXT NOT NULL DEFAULT '',
    total REAL GENERATED ALWAYS AS (total_thousandths / 1000.0) VIRTUAL,
    items TEXT GENERATED ALWAYS AS ('[' || item_list || ']') VIRTUAL
);
CREATE INDEX user_orders_by_user ON user_orders (user_id, created_at);
