-- daybook get GetMyOrders user_id=17850
SELECT user_id, order_id, status, total, created_at, items
FROM user_orders WHERE user_id = :user_id ORDER BY created_at DESC, order_id
