-- service: orders, users
-- parameters: id text, person integer, total integer
-- expect: 1 row, else no-credit: there is no such user, or not enough credit
UPDATE people SET credit = credit - :total WHERE id = :person AND credit >= :total;
INSERT INTO orders (id, person, total) VALUES (:id, :person, :total);
