CREATE TABLE people (
    id text PRIMARY KEY,
    credit bigint NOT NULL CHECK (credit >= 0)
);
-- One row an order, whatever became of it: an order that was freed is never held again.
CREATE TABLE holds (
    order_id text PRIMARY KEY,
    person text NOT NULL REFERENCES people,
    amount bigint NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'freed'))
);
