-- on: OrderPlaced, ReturnPlaced
INSERT INTO customers (customer_id, name, street, orders)
VALUES (:customer_id, :customer_name, :address.street, 1)
ON CONFLICT (customer_id) DO UPDATE SET
    name = excluded.name,
    street = excluded.street,
    orders = orders + 1;
