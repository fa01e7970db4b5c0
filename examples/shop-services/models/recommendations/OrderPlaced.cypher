MERGE (c:{gen}Customer {id: $customer})
MERGE (o:{gen}Order {id: $order})
MERGE (c)-[:{gen}PLACED]->(o)
