INSERT OR REPLACE INTO mailing (order_id, customer_id, label)
VALUES (:order_id, :customer_id, :customer_name || ', ' || (:address ->> '$.street'));
