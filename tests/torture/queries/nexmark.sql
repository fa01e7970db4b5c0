-- tables
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, email TEXT, city TEXT, state TEXT, at INTEGER);
CREATE TABLE auction (id INTEGER PRIMARY KEY, item TEXT, initial INTEGER, reserve INTEGER, at INTEGER, expires INTEGER, seller INTEGER, category INTEGER);
CREATE TABLE bid (auction INTEGER, bidder INTEGER, price INTEGER, channel TEXT, url TEXT, at INTEGER, extra TEXT);
CREATE TABLE side (k INTEGER PRIMARY KEY, value TEXT);
CREATE TABLE hop (step INTEGER PRIMARY KEY);
CREATE INDEX auction_seller ON auction (seller);
CREATE INDEX bid_auction ON bid (auction, bidder);
CREATE INDEX bid_bidder ON bid (bidder);
INSERT INTO hop VALUES (0), (1), (2), (3), (4);
INSERT INTO side SELECT step, 'side ' || step FROM hop;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) INSERT INTO person SELECT i, 'person ' || i, 'p' || i || '@example.org', 'city ' || (i % 4), CASE i % 5 WHEN 0 THEN 'OR' WHEN 1 THEN 'ID' WHEN 2 THEN 'CA' ELSE 'NY' END, i * 3 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80) INSERT INTO auction SELECT i, 'item ' || i, i * 7919 % 500, i * 6007 % 2000, i * 2, i * 2 + 10 + i * 31 % 90, i * 17 % 40 + 1, 10 + i % 5 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) INSERT INTO bid SELECT i * 37 % 80 + 1, i * 13 % 40 + 1, 100 + i * 7919 % 900000, CASE i % 6 WHEN 0 THEN 'Apple' WHEN 1 THEN 'Google' WHEN 2 THEN 'Facebook' WHEN 3 THEN 'Baidu' ELSE 'channel-' || i % 9 END, 'https://www.example.org/item/' || i % 9 || '/query?channel_id=' || i % 9, i * 3 / 8, 'cccab' || i % 3 FROM n;
-- batch
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25) INSERT INTO bid SELECT (i * 37 + ?1) % 84 + 1, (i * 13 + ?1 * 5) % 40 + 1, 100 + (i * 7919 + ?1 * 104729) % 1000000, CASE (i + ?1) % 6 WHEN 0 THEN 'Apple' WHEN 1 THEN 'Google' WHEN 2 THEN 'Facebook' ELSE 'channel-' || i % 9 END, 'https://www.example.org/item/' || i % 9 || '/query?channel_id=' || i % 9, 180 + ?1 * 6 + i / 4, 'ccab' || i % 3 FROM n;
INSERT INTO auction SELECT 80 + ?1 * 3 + step, 'item ' || step, (step * 7919 + ?1) % 500, (step * 6007 + ?1) % 2000, 180 + ?1 * 6, 200 + ?1 * 6 + step * 31 % 90, (step * 17 + ?1 * 3) % 40 + 1, 10 + (step + ?1) % 5 FROM hop WHERE step < 3;
INSERT INTO person VALUES (40 + ?1, 'person ' || ?1, 'q' || ?1 || '@example.org', 'city ' || ?1 % 4, CASE ?1 % 3 WHEN 0 THEN 'OR' WHEN 1 THEN 'ID' ELSE 'NY' END, 180 + ?1 * 6);
DELETE FROM bid WHERE rowid % 61 = ?1 % 61;
UPDATE bid SET price = price + 1 + ?1 * 7919 % 40000, at = at + ?1 % 3 WHERE rowid % 53 = ?1 % 53;
UPDATE bid SET channel = NULL WHERE rowid % 211 = ?1 % 211;
UPDATE auction SET category = 10 + (category + ?1) % 5, expires = expires + ?1 % 40 WHERE id % 23 = ?1 % 23;
DELETE FROM auction WHERE id % 71 = ?1 % 71;
UPDATE person SET state = CASE state WHEN 'OR' THEN 'NY' ELSE 'OR' END, city = 'city ' || ?1 % 4 WHERE id % 19 = ?1 % 19;
DELETE FROM person WHERE id % 67 = ?1 % 67;
UPDATE side SET value = value || ?1 WHERE k = ?1 % 7;
-- query q0
SELECT auction, bidder, price, at, extra FROM bid
-- query q1
SELECT auction, bidder, 0.908 * price AS price, at, extra FROM bid
-- query q2
SELECT auction, price FROM bid WHERE auction % 7 = 3
-- query q3
SELECT p.name, p.city, p.state, a.id FROM auction AS a JOIN person AS p ON a.seller = p.id WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')
-- query q4
SELECT category, avg(final) AS mean FROM (SELECT max(b.price) AS final, a.category FROM auction AS a JOIN bid AS b ON a.id = b.auction WHERE b.at BETWEEN a.at AND a.expires GROUP BY a.id, a.category) AS q GROUP BY category
-- query q5
WITH counted AS (SELECT b.auction, count(*) AS num, (b.at / 2 - h.step) * 2 AS begins FROM bid AS b JOIN hop AS h ON h.step < 5 GROUP BY b.auction, (b.at / 2 - h.step) * 2), most AS (SELECT max(num) AS num, begins FROM counted GROUP BY begins) SELECT c.auction, c.num, c.begins FROM counted AS c JOIN most AS m ON c.begins = m.begins AND c.num = m.num
-- query q6
SELECT seller, avg(final) OVER (PARTITION BY seller ORDER BY expires, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS mean FROM (SELECT a.id, a.seller, a.expires, max(b.price) AS final FROM auction AS a JOIN bid AS b ON a.id = b.auction WHERE b.at BETWEEN a.at AND a.expires GROUP BY a.id, a.seller, a.expires) AS won
-- query q7
SELECT b.auction, b.price, b.bidder, b.at FROM bid AS b JOIN (SELECT max(price) AS top, at / 10 AS tens FROM bid GROUP BY at / 10) AS m ON b.price = m.top AND b.at / 10 = m.tens
-- query q8
SELECT p.id, p.name, p.begins FROM (SELECT id, name, at / 10 * 10 AS begins FROM person GROUP BY id, name, at / 10 * 10) AS p JOIN (SELECT seller, at / 10 * 10 AS begins FROM auction GROUP BY seller, at / 10 * 10) AS a ON p.id = a.seller AND p.begins <= a.begins
-- query q9
SELECT id, item, seller, auction, bidder, price, bid_at FROM (SELECT a.id, a.item, a.seller, b.auction, b.bidder, b.price, b.at AS bid_at, row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.at, b.bidder) AS place FROM auction AS a JOIN bid AS b ON a.id = b.auction WHERE b.at BETWEEN a.at AND a.expires) AS placed WHERE place = 1
-- query q10
SELECT auction, bidder, price, at, extra, strftime('%Y-%m-%d', at * 86400, 'unixepoch') AS day, strftime('%H:%M', at * 61, 'unixepoch') AS minute FROM bid
-- query q11
WITH marked AS (SELECT bidder, at, extra, CASE WHEN at - lag(at) OVER (PARTITION BY bidder ORDER BY at, price, auction) <= 10 THEN 0 ELSE 1 END AS begins FROM bid), numbered AS (SELECT bidder, at, sum(begins) OVER (PARTITION BY bidder ORDER BY at) AS session FROM marked) SELECT bidder, count(*) AS bids, min(at) AS begun, max(at) AS ended FROM numbered GROUP BY bidder, session
-- query q13
SELECT b.auction, b.bidder, b.price, b.at, s.value FROM bid AS b JOIN side AS s ON b.auction % 5 = s.k
-- query q14
SELECT auction, bidder, 0.908 * price AS price, CASE WHEN at % 24 >= 8 AND at % 24 <= 18 THEN 'dayTime' WHEN at % 24 <= 6 OR at % 24 >= 20 THEN 'nightTime' ELSE 'otherTime' END AS part, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts FROM bid WHERE 0.908 * price > 100000 AND 0.908 * price < 500000
-- query q15
SELECT at / 24 AS day, count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1, count(*) FILTER (WHERE price >= 10000 AND price < 500000) AS rank2, count(*) FILTER (WHERE price >= 500000) AS rank3, count(DISTINCT bidder) AS bidders, count(DISTINCT bidder) FILTER (WHERE price < 10000) AS bidders1, count(DISTINCT auction) AS auctions, count(DISTINCT auction) FILTER (WHERE price >= 500000) AS auctions3 FROM bid GROUP BY at / 24
-- query q16
SELECT channel, at / 24 AS day, max(at) AS last, count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1, count(*) FILTER (WHERE price >= 500000) AS rank3, count(DISTINCT bidder) AS bidders, count(DISTINCT bidder) FILTER (WHERE price >= 10000) AS bidders2, count(DISTINCT auction) AS auctions FROM bid GROUP BY channel, at / 24
-- query q17
SELECT auction, at / 24 AS day, count(*) AS total_bids, count(*) FILTER (WHERE price < 10000) AS rank1, count(*) FILTER (WHERE price >= 500000) AS rank3, min(price) AS least, max(price) AS most, avg(price) AS mean, sum(price) AS sum FROM bid GROUP BY auction, at / 24
-- query q18
SELECT auction, bidder, price, channel, at FROM (SELECT auction, bidder, price, channel, at, row_number() OVER (PARTITION BY bidder, auction ORDER BY at DESC, price) AS place FROM bid) AS placed WHERE place <= 1
-- query q19
SELECT auction, bidder, price, at, place FROM (SELECT auction, bidder, price, at, row_number() OVER (PARTITION BY auction ORDER BY price DESC, at, bidder) AS place FROM bid) AS placed WHERE place <= 10
-- query q20
SELECT b.auction, b.bidder, b.price, b.at, a.item, a.initial, a.reserve, a.seller, a.category FROM bid AS b JOIN auction AS a ON b.auction = a.id WHERE a.category = 10
-- query q21
SELECT auction, bidder, price, channel, CASE WHEN lower(channel) = 'apple' THEN '0' WHEN lower(channel) = 'google' THEN '1' WHEN lower(channel) = 'facebook' THEN '2' WHEN lower(channel) = 'baidu' THEN '3' ELSE substr(url, instr(url, 'channel_id=') + 11) END AS channel_id FROM bid WHERE instr(url, 'channel_id=') > 0 OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')
-- query q22
SELECT auction, bidder, price, channel, substr(rest, 1, instr(rest, '/') - 1) AS dir2, substr(rest, instr(rest, '/') + 1) AS dir3, substr(url, 9, instr(substr(url, 9), '/') - 1) AS host FROM (SELECT auction, bidder, price, channel, url, substr(url, 30) AS rest FROM bid) AS cut
