-- service: orders, users
-- parameters: id text
-- expect: 1 row, else no-such-order: there is no such order
UPDATE people SET credit = credit + (SELECT o.total FROM orders AS o WHERE o.id = :id)
WHERE id = (SELECT o.person FROM orders AS o WHERE o.id = :id);
DELETE FROM orders WHERE id = :id;
