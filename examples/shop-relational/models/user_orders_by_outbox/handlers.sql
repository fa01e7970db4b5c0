-- on: OrderPlaced
INSERT INTO user_orders_by_outbox (order_id, user_id, status, total, created_at, items)
VALUES (:order_id, :user_id, 'placed', :total, :created_at, :items);

-- on: OrderCancelled
UPDATE user_orders_by_outbox SET status = 'cancelled' WHERE order_id = :order_id;
