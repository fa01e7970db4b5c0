-- What the user service would like to do.
ALTER TABLE people ADD COLUMN first_name text;
ALTER TABLE people DROP COLUMN name;
