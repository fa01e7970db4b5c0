-- on: OrderPlaced
INSERT INTO user_orders (order_id, user_id, status, created_at, country)
VALUES (:order_id, :customer_id, 'placed', :_occurred, :country);

-- on: ReturnPlaced
INSERT INTO user_orders (order_id, user_id, status, created_at, country)
VALUES (:order_id, :customer_id, 'returned', :_occurred, :country);

-- on: LineAdded, LineReturned
UPDATE user_orders SET
    total_thousandths = total_thousandths + CAST(round(:price * 1000) AS INTEGER) * :quantity,
    item_list = item_list || CASE item_list WHEN '' THEN '' ELSE ',' END ||
        json_object('name', :description, 'quantity', :quantity, 'price', :price,
            'image_url', '/images/' || :stock_code || '.jpg')
WHERE order_id = :order_id;

-- on: OrderCancelled
UPDATE user_orders SET status = 'cancelled' WHERE order_id = :order_id;
