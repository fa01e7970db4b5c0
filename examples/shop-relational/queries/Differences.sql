-- database: reading
-- What one model has and the other lacks: nothing, when both are as far.
SELECT 'tables' AS only_by, * FROM (SELECT * FROM user_orders EXCEPT SELECT * FROM user_orders_by_outbox)
UNION ALL
SELECT 'outbox', * FROM (SELECT * FROM user_orders_by_outbox EXCEPT SELECT * FROM user_orders)
