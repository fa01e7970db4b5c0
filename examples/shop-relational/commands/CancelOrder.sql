-- service: shop
-- parameters: order_id text
-- expect: 1 row, else not-placed: there is no such order, or it was cancelled before
UPDATE orders SET status = 'cancelled' WHERE id = :order_id AND status = 'placed';
UPDATE products SET stock = stock + quantity
FROM order_items WHERE order_id = :order_id AND product_id = products.id;
INSERT INTO outbox (stream, type, data)
VALUES ('order-' || :order_id, 'OrderCancelled', json_object('order_id', :order_id));
