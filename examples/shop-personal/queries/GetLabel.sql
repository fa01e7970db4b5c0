-- database: reading
SELECT order_id, unseal(name) AS name FROM labels WHERE order_id = :order_id
