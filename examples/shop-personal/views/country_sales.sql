-- What was sold, by country: it does not change when a customer is forgotten.
-- refresh: on demand
-- database: reading
SELECT
    data ->> '$.country' AS country,
    count(*) AS lines,
    sum(CAST(round((data ->> '$.price') * 1000) AS INTEGER) * (data ->> '$.quantity')) / 1000.0
        AS sales
FROM events
WHERE category = 'order' AND type IN ('LineAdded', 'LineReturned')
GROUP BY 1
