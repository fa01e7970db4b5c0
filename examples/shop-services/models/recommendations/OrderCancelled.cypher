MATCH (o:{gen}Order {id: $order}) DETACH DELETE o
