-- Who orders most, by name.
-- refresh: on demand
-- database: reading
-- index: name
SELECT customer_id, name, street, orders FROM customers ORDER BY orders DESC, customer_id
