-- What was sold, by day, region and category: from the log itself. Returns count against sales.
-- refresh: every day at 02:00
-- database: reading
-- index: date, region
SELECT
    substr(occurred, 1, 10) AS date,
    data ->> '$.country' AS region,
    data ->> '$.category' AS category,
    sum(CAST(round((data ->> '$.price') * 1000) AS INTEGER) * (data ->> '$.quantity')) / 1000.0
        AS sales
FROM events
WHERE category = 'order' AND type IN ('LineAdded', 'LineReturned')
GROUP BY 1, 2, 3
