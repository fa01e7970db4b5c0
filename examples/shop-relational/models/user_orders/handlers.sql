-- on: products.insert, products.update
INSERT INTO product_names (product_id, name, image_url) VALUES (:new.id, :new.name, :new.image_url)
ON CONFLICT (product_id) DO UPDATE SET name = excluded.name, image_url = excluded.image_url;
UPDATE user_orders SET items = (
    SELECT json_group_array(json_object('name', name, 'quantity', quantity, 'price', price,
        'image_url', image_url))
    FROM (SELECT * FROM order_lines JOIN product_names USING (product_id)
          WHERE order_lines.order_id = user_orders.order_id ORDER BY product_id))
WHERE order_id IN (SELECT order_id FROM order_lines WHERE product_id = :new.id);

-- on: orders.insert, orders.update
INSERT INTO user_orders (order_id, user_id, status, total, created_at)
VALUES (:new.id, :new.user_id, :new.status, :new.total, :new.created_at)
ON CONFLICT (order_id) DO UPDATE SET user_id = excluded.user_id, status = excluded.status,
    total = excluded.total, created_at = excluded.created_at;

-- on: orders.delete
DELETE FROM user_orders WHERE order_id = :old.id;

-- on: order_items.insert, order_items.update
INSERT INTO order_lines (order_id, product_id, quantity, price)
VALUES (:new.order_id, :new.product_id, :new.quantity, :new.price)
ON CONFLICT (order_id, product_id) DO UPDATE SET quantity = excluded.quantity, price = excluded.price;
INSERT INTO user_orders (order_id) VALUES (:new.order_id) ON CONFLICT (order_id) DO NOTHING;
UPDATE user_orders SET items = (
    SELECT json_group_array(json_object('name', name, 'quantity', quantity, 'price', price,
        'image_url', image_url))
    FROM (SELECT * FROM order_lines JOIN product_names USING (product_id)
          WHERE order_lines.order_id = user_orders.order_id ORDER BY product_id))
WHERE order_id = :new.order_id;

-- on: order_items.delete
DELETE FROM order_lines WHERE order_id = :old.order_id AND product_id = :old.product_id;
UPDATE user_orders SET items = (
    SELECT json_group_array(json_object('name', name, 'quantity', quantity, 'price', price,
        'image_url', image_url))
    FROM (SELECT * FROM order_lines JOIN product_names USING (product_id)
          WHERE order_lines.order_id = user_orders.order_id ORDER BY product_id))
WHERE order_id = :old.order_id;
