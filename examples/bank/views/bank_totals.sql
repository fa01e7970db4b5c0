-- refresh: on demand
-- database: reading
SELECT count(*) AS accounts, sum(balance) AS balance FROM balances
