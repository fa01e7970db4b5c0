INSERT OR REPLACE INTO labels (order_id, customer_id, name)
VALUES (:order_id, :customer_id, :customer_name);
