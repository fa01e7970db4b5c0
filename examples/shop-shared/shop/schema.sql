-- The tables as PostgreSQL and SQLite both make them.
CREATE TABLE people (
    id integer PRIMARY KEY,
    name text NOT NULL,
    credit integer NOT NULL CHECK (credit >= 0)
);
CREATE TABLE orders (
    id text PRIMARY KEY,
    person integer NOT NULL REFERENCES people (id),
    total integer NOT NULL CHECK (total > 0)
);
INSERT INTO people (id, name, credit) VALUES (1, 'Ann', 1000), (2, 'Bob', 1000), (3, 'Cid', 1000);
