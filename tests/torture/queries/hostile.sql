-- tables
CREATE TABLE a (k TEXT, n INTEGER, x, r REAL);
CREATE TABLE b (k TEXT, n INTEGER, y);
CREATE TABLE c (id INTEGER PRIMARY KEY, p INTEGER, q TEXT, u NUMERIC);
CREATE TABLE e (m INTEGER, t TEXT);
INSERT INTO a VALUES ('1', 1, 1, 1.0), ('1', 1, 1, 1.0), (NULL, NULL, NULL, NULL), (NULL, 2, '1', 2.5), ('x', 3, 'X', 0.5), ('X', 1, 1.5, 4.0);
INSERT INTO b VALUES ('1', 1, 1), (NULL, NULL, NULL), (NULL, 2, '2'), ('x', 3, 3), ('y', 4, 'y'), ('1', NULL, 1);
INSERT INTO c VALUES (1, 1, '1', 1), (2, NULL, NULL, '2'), (3, 1, 'x', 'x'), (4, 3, '3', 3);
INSERT INTO e VALUES (1, '1'), (NULL, NULL), (2, 'x');
-- batch
INSERT INTO a SELECT CASE (?1 * 7) % 5 WHEN 0 THEN NULL WHEN 1 THEN '1' WHEN 2 THEN 'x' ELSE CAST(?1 % 4 AS TEXT) END, nullif(?1 % 4, 0), CASE ?1 % 3 WHEN 0 THEN NULL WHEN 1 THEN CAST(?1 % 5 AS TEXT) ELSE ?1 % 5 END, ?1 % 3;
INSERT INTO a SELECT k, n, x, r FROM a WHERE rowid % 5 = ?1 % 5 LIMIT 2;
DELETE FROM a WHERE rowid % 7 = ?1 % 7;
UPDATE a SET n = CASE WHEN n IS NULL THEN 1 WHEN n = 2 THEN NULL ELSE n + 1 END WHERE rowid % 4 = ?1 % 4;
UPDATE a SET k = CASE WHEN k IS NULL THEN 'x' ELSE NULL END WHERE rowid % 6 = ?1 % 6;
INSERT INTO b SELECT CASE ?1 % 4 WHEN 0 THEN NULL WHEN 1 THEN '1' WHEN 2 THEN 'X' ELSE 'x' END, nullif((?1 * 3) % 5, 0), CASE ?1 % 2 WHEN 0 THEN ?1 % 4 ELSE CAST(?1 % 4 AS TEXT) END;
DELETE FROM b WHERE rowid % 5 = (?1 * 3) % 5;
UPDATE b SET n = nullif((n + ?1) % 4, 0), y = n WHERE rowid % 3 = ?1 % 3;
UPDATE b SET n = ?1 % 3 WHERE n IS NULL AND ?1 % 4 = 0;
INSERT OR REPLACE INTO c VALUES (?1 % 9, nullif(?1 % 4, 0), CASE ?1 % 3 WHEN 0 THEN NULL WHEN 1 THEN CAST(?1 % 4 AS TEXT) ELSE 'x' END, CASE ?1 % 2 WHEN 0 THEN ?1 % 4 ELSE 'x' END);
DELETE FROM c WHERE id = (?1 * 5) % 9;
UPDATE c SET p = CASE WHEN p IS NULL THEN 2 END WHERE id % 4 = ?1 % 4;
DELETE FROM e WHERE ?1 % 3 = 0 AND m IS NULL;
INSERT INTO e SELECT nullif(?1 % 3, 1), CASE ?1 % 4 WHEN 0 THEN NULL ELSE CAST(?1 % 4 AS TEXT) END;
DELETE FROM e WHERE rowid % 4 = ?1 % 4;
DELETE FROM a WHERE ?1 % 11 = 0;
DELETE FROM b WHERE ?1 % 13 = 0;
-- query not_in_nulls
SELECT a.k, a.n FROM a WHERE a.n NOT IN (SELECT e.m FROM e)
-- query not_in_correlated
SELECT a.k, a.n FROM a WHERE a.n NOT IN (SELECT b.n FROM b WHERE b.k = a.k)
-- query not_in_affinity
SELECT a.k, a.x FROM a WHERE a.x NOT IN (SELECT e.t FROM e)
-- query in_affinity
SELECT c.id, c.u, c.u IN (SELECT e.t FROM e) AS is_in, c.q IN (SELECT e.m FROM e) AS other FROM c
-- query three_deep
SELECT a.k, a.n FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.n = a.n AND b.n IN (SELECT c.p FROM c WHERE c.p = b.n AND NOT EXISTS (SELECT 1 FROM e WHERE e.m = c.id)))
-- query three_deep_not
SELECT a.k, a.n FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.n = a.n AND NOT EXISTS (SELECT 1 FROM c WHERE c.p = b.n AND c.id NOT IN (SELECT e.m FROM e WHERE e.m = c.id OR e.t = c.q)))
-- query full_nulls
SELECT a.k, b.k AS bk, a.n, b.y FROM a FULL JOIN b ON a.k = b.k
-- query full_is
SELECT a.k, b.k AS bk, a.n, b.y FROM a FULL JOIN b ON a.k IS NOT DISTINCT FROM b.k AND a.n > b.n
-- query full_three
SELECT a.n, b.n AS bn, c.p FROM a FULL JOIN b ON a.n = b.n FULL JOIN c ON b.n = c.p
-- query full_where
SELECT coalesce(a.n, b.n) AS n, count(*) AS c, count(a.n) AS an FROM a FULL JOIN b ON a.n = b.n WHERE b.y IS NOT NULL OR a.x IS NULL GROUP BY coalesce(a.n, b.n)
-- query right_left
SELECT a.k, b.n, c.q FROM a RIGHT JOIN b ON a.k = b.k LEFT JOIN c ON c.p = b.n AND a.n = 1
-- query left_inner
SELECT a.k, b.n, c.q FROM a LEFT JOIN b ON a.k = b.k JOIN c ON c.p = a.n
-- query left_null_group
SELECT b.k, count(*) AS c, count(b.n) AS n, max(a.n) AS m, min(b.y) AS y FROM a LEFT JOIN b ON a.n = b.n GROUP BY b.k
-- query except_bag
SELECT k, n FROM a EXCEPT SELECT k, n FROM b
-- query intersect_bag
SELECT k, n FROM a INTERSECT SELECT k, n FROM b
-- query except_chain
SELECT n FROM a EXCEPT SELECT n FROM b UNION SELECT p FROM c EXCEPT SELECT m FROM e
-- query union_all_of_union
SELECT s.n, count(*) AS c FROM (SELECT n FROM a UNION ALL SELECT n FROM b) AS s GROUP BY s.n
-- query union_mixed
SELECT x AS v FROM a UNION SELECT y FROM b
-- query distinct_mixed
SELECT DISTINCT x, k FROM a
-- query group_null
SELECT k, n, count(*) AS c, sum(n) AS s, avg(n) AS m, min(x) AS lo, max(x) AS hi FROM a GROUP BY k, n
-- query no_group
SELECT count(*) AS c, sum(n) AS s, min(k) AS lo, max(n) AS hi, count(DISTINCT k) AS d, total(n) AS t FROM a WHERE n > 1
-- query no_group_having
SELECT count(*) AS c, sum(n) AS s FROM a HAVING count(*) > 4
-- query having_asks
SELECT k, sum(n) AS s FROM a GROUP BY k HAVING sum(n) > (SELECT avg(b.n) FROM b)
-- query group_of_groups
SELECT s.c, count(*) AS k, max(s.m) AS m FROM (SELECT k, count(*) AS c, max(n) AS m FROM a GROUP BY k) AS s GROUP BY s.c
-- query scalar_correlated
SELECT c.id, (SELECT max(a.n) FROM a WHERE a.n = c.p) AS m, (SELECT count(*) FROM b WHERE b.k = c.q) AS n FROM c
-- query scalar_in_group
SELECT s.m, count(*) AS c FROM (SELECT c.id, (SELECT sum(a.n) FROM a WHERE a.k = c.q) AS m FROM c) AS s GROUP BY s.m
-- query scalar_beside_left
SELECT a.k, b.y, (SELECT count(*) FROM c WHERE c.p = b.n) AS m FROM a LEFT JOIN b ON b.k = a.k
-- query exists_or
SELECT a.k, a.n FROM a WHERE a.n = 1 OR EXISTS (SELECT 1 FROM b WHERE b.n = a.n AND b.y = a.x)
-- query exists_in_case
SELECT a.k, CASE WHEN EXISTS (SELECT 1 FROM b WHERE b.k = a.k) THEN 'in' WHEN a.n IN (SELECT e.m FROM e) THEN 'e' ELSE 'out' END AS w FROM a
-- query not_in_of_group
SELECT a.k, a.n FROM a WHERE a.n NOT IN (SELECT max(b.n) FROM b GROUP BY b.k)
-- query in_of_union
SELECT a.k, a.n FROM a WHERE a.n IN (SELECT b.n FROM b UNION SELECT c.p FROM c)
-- query self_join
SELECT x.k, y.n, z.x FROM a AS x JOIN a AS y ON x.n = y.n JOIN a AS z ON y.k = z.k
-- query self_left
SELECT x.k, x.n, y.n AS yn FROM a AS x LEFT JOIN a AS y ON x.n = y.n + 1
-- query with_twice
WITH s AS (SELECT k, sum(n) AS t FROM a GROUP BY k), h AS (SELECT max(t) AS m FROM s) SELECT s.k, s.t FROM s JOIN h ON s.t = h.m
-- query with_three
WITH s AS (SELECT k, n FROM a WHERE n IS NOT NULL), u AS (SELECT s.k, b.y FROM s LEFT JOIN b ON b.n = s.n), w AS (SELECT k, count(y) AS c FROM u GROUP BY k) SELECT w.k, w.c, count(*) AS z FROM w JOIN u ON u.k = w.k GROUP BY w.k, w.c
-- query using_left
SELECT k, a.n, b.n AS bn, y FROM a LEFT JOIN b USING (k)
-- query using_two
SELECT k, n, x, y FROM a JOIN b USING (k, n)
-- query natural
SELECT k, n, count(*) AS c FROM a NATURAL JOIN b GROUP BY k, n
-- query text_join
SELECT a.k, c.id FROM a JOIN c ON a.k = c.p
-- query untyped_join
SELECT a.x, b.k FROM a JOIN b ON a.x = b.k
-- query untyped_join_stored
SELECT s.x, b.k FROM (SELECT DISTINCT x FROM a) AS s JOIN b ON s.x = b.k
-- query expression_join_stored
SELECT s.v, b.k FROM (SELECT x || '' AS v, count(*) AS c FROM a GROUP BY x || '') AS s JOIN b ON s.v = b.n
-- query cast_group
SELECT CAST(x AS INTEGER) AS i, count(*) AS c FROM a GROUP BY CAST(x AS INTEGER)
-- query real_sum
SELECT k, sum(r) AS s, avg(r) AS m, total(r) AS t FROM a GROUP BY k
-- query between_join
SELECT a.n, count(*) AS c FROM a JOIN c ON a.n BETWEEN c.p AND c.id GROUP BY a.n
-- query empty_and_back
SELECT b.k, sum(b.n) AS s, count(DISTINCT b.y) AS d FROM b WHERE b.n > 2 GROUP BY b.k HAVING count(*) >= 1
-- query over_a_view
SELECT g.k, count(*) AS c, sum(g.s) AS s FROM group_null AS g WHERE g.n IS NOT NULL GROUP BY g.k
-- query over_two_views
SELECT v.c, u.n FROM over_a_view AS v LEFT JOIN union_all_of_union AS u ON u.c = v.c
-- query order_only
SELECT k, n FROM a ORDER BY n DESC, k
-- query order_hidden
SELECT k, n FROM a ORDER BY x + 1, n NULLS LAST, k COLLATE NOCASE
-- query limit_order ordered
SELECT k, n, x FROM a ORDER BY n DESC NULLS LAST, 1, x LIMIT 4
-- query limit_offset ordered
SELECT k, n, x FROM a ORDER BY x, k, n LIMIT 3 OFFSET 2
-- query limit_group ordered
SELECT k, count(*) AS c FROM a GROUP BY k ORDER BY sum(n) DESC, k LIMIT 3
-- query limit_group_having ordered
SELECT k, count(*) AS c FROM a GROUP BY k HAVING count(*) > 1 ORDER BY c DESC, k LIMIT 2
-- query limit_union ordered
SELECT k FROM a UNION SELECT n FROM a ORDER BY 1 LIMIT 3
-- query limit_union_all ordered
SELECT k, n FROM a UNION ALL SELECT n, n FROM a ORDER BY k DESC, n LIMIT 3
-- query limit_distinct ordered
SELECT DISTINCT n FROM a ORDER BY n DESC LIMIT 2
-- query over_order
SELECT o.k, count(*) AS c FROM order_only AS o GROUP BY o.k
-- query over_limit full
SELECT o.k, count(*) AS c FROM limit_order AS o GROUP BY o.k
-- query window_rank
SELECT k, n, x, rank() OVER (PARTITION BY k ORDER BY n DESC NULLS LAST) AS r, sum(n) OVER (PARTITION BY k) AS s FROM a
-- query window_row_number
SELECT k, n, x, row_number() OVER (PARTITION BY k ORDER BY n, x) AS r FROM a
-- query window_lag
SELECT k, n, x, lag(n, 1, 0) OVER w AS l, lead(x) OVER w AS f FROM a WHERE n > 0 WINDOW w AS (PARTITION BY k ORDER BY n, x)
-- query window_rows
SELECT k, n, sum(n) OVER (PARTITION BY k ORDER BY n, x ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s, first_value(n) OVER (PARTITION BY k ORDER BY n, x ROWS UNBOUNDED PRECEDING) AS f FROM a
-- query window_range
SELECT k, n, sum(n) OVER (PARTITION BY k ORDER BY n) AS s, count(*) OVER (PARTITION BY k ORDER BY n RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS c FROM a
-- query window_two_sets
SELECT k, n, rank() OVER (PARTITION BY k, n ORDER BY x) AS r, dense_rank() OVER (PARTITION BY n ORDER BY k) AS d FROM a
-- query window_join
SELECT a.k, b.n, rank() OVER (PARTITION BY a.k ORDER BY b.n) AS r FROM a LEFT JOIN b ON a.n = b.n WHERE a.x IS NOT NULL
-- query window_group
SELECT k, n, sum(n) AS s, rank() OVER (PARTITION BY k ORDER BY sum(n) DESC) AS r FROM a GROUP BY k, n
-- query window_group_having
SELECT k, n, count(*) AS c, sum(count(*)) OVER (PARTITION BY k) AS t FROM a GROUP BY k, n HAVING count(*) > 1
-- query window_top
SELECT s.k, s.n, s.x FROM (SELECT k, n, x, row_number() OVER (PARTITION BY k ORDER BY n DESC, x) AS r FROM a) AS s WHERE s.r <= 2
-- query window_join_behind
SELECT s.k, s.r, count(*) AS c FROM (SELECT k, rank() OVER (PARTITION BY k ORDER BY n) AS r FROM a) AS s LEFT JOIN b ON b.k = s.k GROUP BY s.k, s.r
-- query window_distinct
SELECT DISTINCT k, max(n) OVER (PARTITION BY k) AS m FROM a
-- query window_union
SELECT k, count(*) OVER (PARTITION BY k) AS c FROM a UNION ALL SELECT k, count(*) OVER (PARTITION BY k, n) FROM b
-- query window_in
SELECT n FROM b WHERE n IN (SELECT rank() OVER (PARTITION BY k ORDER BY n) FROM a)
-- query window_expression
SELECT k, n * 1.0 / sum(n) OVER (PARTITION BY coalesce(k, '')) AS part FROM a
-- query window_order ordered
SELECT k, n, x, rank() OVER (PARTITION BY k ORDER BY n) AS r FROM a ORDER BY r, k, n, x LIMIT 5
-- query window_asks
SELECT k, n, count(*) OVER (PARTITION BY k) AS c FROM a WHERE n IN (SELECT n FROM b)
-- query window_of_window
SELECT s.k, s.r, count(*) OVER (PARTITION BY s.r) AS c FROM (SELECT k, rank() OVER (PARTITION BY k ORDER BY n) AS r FROM a) AS s
-- query window_none full
SELECT k, rank() OVER (ORDER BY n) AS r FROM a
-- query window_apart full
SELECT k, rank() OVER (PARTITION BY k ORDER BY n) AS r, rank() OVER (PARTITION BY n ORDER BY k) AS s FROM a
-- query window_ties tied
SELECT k, row_number() OVER (PARTITION BY k) AS r, n, lag(x) OVER (PARTITION BY k ORDER BY n) AS l FROM a
-- query window_group_ties tied
SELECT k, n, count(*) AS c, row_number() OVER (PARTITION BY k ORDER BY count(*)) AS r FROM a GROUP BY k, n
-- query window_join_ties tied
SELECT a.k, b.k AS bk, sum(a.n) OVER (PARTITION BY b.k ORDER BY a.n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS s, row_number() OVER (PARTITION BY b.k ORDER BY b.n) AS r FROM a JOIN b ON a.n >= b.n
-- query limit_ties tied
SELECT k, n FROM a ORDER BY n LIMIT 3
