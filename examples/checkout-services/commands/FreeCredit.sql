-- service: users
-- parameters: order text, person text
-- First, so that a hold that is still on its way is waited for, or comes too late.
INSERT INTO holds (order_id, person, amount, state) VALUES (:order, :person, 0, 'freed')
    ON CONFLICT (order_id) DO NOTHING;
UPDATE people SET credit = credit + h.amount FROM holds h
    WHERE h.order_id = :order AND h.state = 'held' AND people.id = h.person;
UPDATE holds SET state = 'freed' WHERE order_id = :order;
