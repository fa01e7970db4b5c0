// database: recommendations
MATCH (:{recommendations}Product {id: $product})<-[:{recommendations}HAS]-()<-[:{recommendations}PLACED]-(c)
MATCH (c)-[:{recommendations}PLACED]->()-[:{recommendations}HAS]->(q)
WHERE q.id <> $product
RETURN q.id AS product, q.title AS title, count(DISTINCT c) AS customers
ORDER BY customers DESC, product LIMIT 10
