CREATE TABLE mailing (
    order_id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL,
    label TEXT
);
CREATE INDEX mailing_by_customer ON mailing (customer_id);
