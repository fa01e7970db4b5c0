-- database: reading
SELECT order_id, status, total, created_at, items
FROM user_orders WHERE user_id = :user_id ORDER BY created_at DESC, order_id
