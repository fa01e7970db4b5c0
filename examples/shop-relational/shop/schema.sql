-- The service's own tables, normalized. It makes them itself, as it likes them. Money is in cents.
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL
);
CREATE TABLE products (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT,
    image_url TEXT,
    current_price INTEGER NOT NULL CHECK (current_price >= 0),
    stock INTEGER NOT NULL CHECK (stock >= 0)
);
CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users,
    status TEXT NOT NULL CHECK (status IN ('placed', 'cancelled')),
    total INTEGER NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE order_items (
    order_id TEXT NOT NULL REFERENCES orders,
    product_id TEXT NOT NULL REFERENCES products,
    quantity INTEGER NOT NULL CHECK (quantity > 0),
    price INTEGER NOT NULL,
    PRIMARY KEY (order_id, product_id)
);
-- What others are to hear: written with what it tells of, read by Daybook.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream TEXT NOT NULL,
    type TEXT NOT NULL,
    data TEXT NOT NULL
);
INSERT INTO users VALUES (42, 'Anna'), (43, 'Bert');
INSERT INTO products VALUES
    ('22139', 'Tea set', 'Retro spot, six pieces', '/images/22139.jpg', 425, 100),
    ('21730', 'Glass star', 'Frosted, a T-light holder', '/images/21730.jpg', 425, 12),
    ('85123A', 'Heart', 'White, hanging', '/images/85123A.jpg', 295, 3);
