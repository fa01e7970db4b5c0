-- service: users
-- parameters: order text, person text, amount integer
INSERT INTO holds (order_id, person, amount, state) VALUES (:order, :person, :amount, 'held');
-- expect: 1 row, else credit-short: the credit is less than that
UPDATE people SET credit = credit - :amount WHERE id = :person AND credit >= :amount;
