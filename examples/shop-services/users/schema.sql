-- The user service's own tables.
CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, password text NOT NULL);
