// with: item = products.items-{product}
MERGE (o:{gen}Order {id: $order})
MERGE (p:{gen}Product {id: $product})
SET p.title = $item.title
MERGE (o)-[:{gen}HAS]->(p)
