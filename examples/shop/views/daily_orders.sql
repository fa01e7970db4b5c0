-- How many orders, by day and region: orders do not add up over categories.
-- refresh: on demand
-- database: reading
SELECT substr(created_at, 1, 10) AS date, country AS region, count(*) AS orders
FROM user_orders
GROUP BY 1, 2
