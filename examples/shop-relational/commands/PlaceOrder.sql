-- service: shop
-- parameters: order_id text, user_id integer, lines json
-- expect: 1 row, else no-such-user: there is no such user
SELECT id FROM users WHERE id = :user_id;
-- expect: 1 row, else no-such-product: lines name a product that does not exist, or none at all
SELECT count(*) FROM json_each(:lines) AS line
LEFT JOIN products ON products.id = line.value ->> 'product'
HAVING count(*) > 0 AND count(*) = count(products.id);
INSERT INTO orders (id, user_id, status, total, created_at)
SELECT :order_id, :user_id, 'placed', sum(current_price * (line.value ->> 'quantity')), :_time
FROM json_each(:lines) AS line JOIN products ON products.id = line.value ->> 'product';
INSERT INTO order_items (order_id, product_id, quantity, price)
SELECT :order_id, products.id, line.value ->> 'quantity', current_price
FROM json_each(:lines) AS line JOIN products ON products.id = line.value ->> 'product';
UPDATE products SET stock = stock - quantity
FROM order_items WHERE order_id = :order_id AND product_id = products.id;
INSERT INTO outbox (stream, type, data)
SELECT 'order-' || id, 'OrderPlaced',
       json_object('order_id', id, 'user_id', user_id, 'total', total, 'created_at', created_at,
                   'items', (
                       SELECT json_group_array(json_object('name', name, 'quantity', quantity,
                           'price', price, 'image_url', image_url))
                       FROM (SELECT * FROM order_items JOIN products ON products.id = product_id
                             WHERE order_id = orders.id ORDER BY product_id)))
FROM orders WHERE id = :order_id;
SELECT id AS order_id, total FROM orders WHERE id = :order_id;
