/* SPDX-License-Identifier: Apache-2.0 */
/* The shop's files, by pattern. */
#include "cli/bench_shop.h"

#define BOOK "book: bench\ndata: data\n"
#define READING "databases:\n  reading: sqlite:reading.db\n"

/* ---- Tables ---- */

#define PRODUCTS                                                                                   \
    "CREATE TABLE products (\n  product_id INTEGER NOT NULL PRIMARY KEY,\n  name TEXT NOT "        \
    "NULL\n);\n"
#define ORDERS                                                                                     \
    "CREATE TABLE orders (\n  order_id INTEGER NOT NULL PRIMARY KEY,\n  user_id INTEGER NOT "      \
    "NULL,\n  day TEXT NOT NULL,\n  total INTEGER NOT NULL\n);\n"                                  \
    "CREATE INDEX orders_by_user ON orders (user_id, order_id);\n"                                 \
    "CREATE TABLE order_items (\n  order_id INTEGER NOT NULL,\n  product_id INTEGER NOT NULL,\n"   \
    "  quantity INTEGER NOT NULL,\n  price INTEGER NOT NULL,\n"                                    \
    "  PRIMARY KEY (order_id, product_id)\n);\n"
#define ALTER "ALTER TABLE orders ADD COLUMN channel TEXT NOT NULL DEFAULT 'web';\n"

#define READ_COLUMNS(more)                                                                         \
    "CREATE TABLE user_orders (\n  order_id INTEGER PRIMARY KEY,\n  user_id INTEGER,\n"            \
    "  day TEXT,\n  total INTEGER,\n  items TEXT NOT NULL DEFAULT '[]'" more "\n);\n"              \
    "CREATE INDEX user_orders_by_user ON user_orders (user_id, order_id);\n"
#define CHANNEL_COLUMN ",\n  channel TEXT"

#define READ_PAGE                                                                                  \
    "SELECT order_id, day, total, items FROM user_orders WHERE user_id = ?1 "                      \
    "ORDER BY order_id DESC LIMIT 10"
#define READ_SUMMARY "SELECT day, count(*), sum(total) FROM user_orders GROUP BY day"

/* ---- Events ---- */

#define VERSION_1 "{\n  \"versions\": [\n    {\"version\": 1, \"schema\": {\"type\": \"object\"}}"
static const char schema_1[] = VERSION_1 "\n  ]\n}\n";
static const char schema_2[] = VERSION_1
    ",\n    {\"version\": 2, \"schema\": {\"type\": \"object\", \"required\": [\"channel\"]},\n"
    "     \"upcast\": [{\"add\": \"channel\", \"value\": \"web\"}]}\n  ]\n}\n";

static const char event_handler[] =
    "INSERT INTO user_orders (order_id, user_id, day, total, items)\n"
    "VALUES (:order_id, :user_id, :day, :total, :items);\n";
static const char event_handler_2[] =
    "INSERT INTO user_orders (order_id, user_id, day, total, items, channel)\n"
    "VALUES (:order_id, :user_id, :day, :total, :items, :channel);\n";

/* ---- A database per service ---- */

static const struct dbk_bench_file services_files[] = {
    {"book.yaml", BOOK "databases:\n  shop: sqlite:source.db\n  catalogue: sqlite:catalogue.db\n"
                       "  reading: sqlite:reading.db\n"},
    {"services/shop.yaml", "database: shop\ntables:\n  orders:\n  order_items:\n"},
    {"services/catalogue.yaml", "database: catalogue\ntables:\n  products:\n"},
    {"models/user_orders/model.yaml",
     "database: reading\nsync: cdc\nsource: [catalogue.products, shop.orders, shop.order_items]\n"},
    {"models/user_orders/schema.sql",
     READ_COLUMNS("") "CREATE TABLE product_names (product_id INTEGER PRIMARY KEY, name TEXT);\n"},
    {"models/user_orders/products.insert.sql",
     "INSERT INTO product_names (product_id, name) VALUES (:new.product_id, :new.name);\n"},
    {"models/user_orders/orders.insert.sql",
     "INSERT INTO user_orders (order_id, user_id, day, total)\n"
     "VALUES (:new.order_id, :new.user_id, :new.day, :new.total);\n"},
    {"models/user_orders/order_items.insert.sql",
     "UPDATE user_orders SET items = json_insert(items, '$[#]', json_object('name',\n"
     "    (SELECT name FROM product_names WHERE product_id = :new.product_id),\n"
     "    'quantity', :new.quantity, 'price', :new.price))\n"
     "WHERE order_id = :new.order_id;\n"},
    {0}};
static const struct dbk_bench_file services_changed[] = {
    {"models/user_orders/schema.sql",
     READ_COLUMNS(CHANNEL_COLUMN) "CREATE TABLE product_names (product_id INTEGER PRIMARY KEY, "
                                  "name TEXT);\n"},
    {"models/user_orders/orders.insert.sql",
     "INSERT INTO user_orders (order_id, user_id, day, total, channel)\n"
     "VALUES (:new.order_id, :new.user_id, :new.day, :new.total, coalesce(:new.channel, 'web'));"
     "\n"},
    {0}};

/* ---- Event sourcing ---- */

#define FOLD(more)                                                                                 \
    "return {\n    initial = { orders = {}, spent = 0 },\n    snapshot = { every = 100 },\n"       \
    "    on = {\n        OrderPlaced = function(state, data)\n"                                    \
    "            state.spent = state.spent + data.total\n"                                         \
    "            table.insert(state.orders, 1, { order_id = data.order_id, day = data.day,\n"      \
    "                total = data.total, items = data.items" more " })\n"                          \
    "            state.orders[11] = nil\n        end,\n    },\n}\n"

static const struct dbk_bench_file sourcing_files[] = {{"book.yaml", BOOK},
                                                       {"events/OrderPlaced.schema.json", schema_1},
                                                       {"folds/user.lua", FOLD("")},
                                                       {0}};
static const struct dbk_bench_file sourcing_changed[] = {
    {"events/OrderPlaced.schema.json", schema_2},
    {"folds/user.lua", FOLD(", channel = data.channel")},
    {0}};

/* ---- CQRS ---- */

static const struct dbk_bench_file cqrs_files[] = {
    {"book.yaml", BOOK READING},
    {"events/OrderPlaced.schema.json", schema_1},
    {"models/user_orders/model.yaml", "database: reading\nsync: events\nsource: [order]\n"},
    {"models/user_orders/schema.sql", READ_COLUMNS("")},
    {"models/user_orders/OrderPlaced.sql", event_handler},
    {0}};
static const struct dbk_bench_file cqrs_changed[] = {
    {"events/OrderPlaced.schema.json", schema_2},
    {"models/user_orders/schema.sql", READ_COLUMNS(CHANNEL_COLUMN)},
    {"models/user_orders/OrderPlaced.sql", event_handler_2},
    {0}};

/* ---- A materialized view ---- */

#define VIEW(key, group)                                                                           \
    "-- refresh: continuous\n-- mode: incremental\n-- database: reading\n"                         \
    "SELECT day" key ", count(*) AS orders, sum(total) AS total, max(order_id) AS last\n"          \
    "FROM user_orders GROUP BY " group "\n"

static const struct dbk_bench_file view_files[] = {
    {"book.yaml", BOOK READING},
    {"models/user_orders/model.yaml", "database: reading\nsync: transaction\nsource: [order]\n"},
    {"events/OrderPlaced.schema.json", schema_1},
    {"models/user_orders/schema.sql", READ_COLUMNS("")},
    {"models/user_orders/OrderPlaced.sql", event_handler},
    {"views/sales.sql", VIEW("", "1")},
    {0}};
static const struct dbk_bench_file view_changed[] = {
    {"events/OrderPlaced.schema.json", schema_2},
    {"models/user_orders/schema.sql", READ_COLUMNS(CHANNEL_COLUMN)},
    {"models/user_orders/OrderPlaced.sql", event_handler_2},
    {"views/sales.sql", VIEW(", channel", "1, 2")},
    {0}};

/* ---- All ---- */

static const struct dbk_bench_file no_files[] = {{0}};

const struct dbk_bench_pattern dbk_bench_patterns[DBK_BENCH_PATTERNS] = {
    {.name = "database_per_service",
     .title = "database per service",
     .distribution = "isolated",
     .consistency = "eventual",
     .failures = "capture stops or lags; model stops or lags",
     .made_for = "services that evolve apart",
     .processes = 2,
     .files = services_files,
     .changed = services_changed,
     .source = ORDERS,
     .catalogue = PRODUCTS,
     .alter = ALTER,
     .target = "reading.db",
     .page = READ_PAGE,
     .summary = READ_SUMMARY,
     .look = "SELECT max(order_id) FROM user_orders WHERE user_id = ?1",
     .model = "user_orders"},
    {.name = "shared_database",
     .title = "shared database",
     .distribution = "shared",
     .consistency = "strong",
     .failures = "locks",
     .made_for = "transactions over services, a monolith",
     .processes = 1,
     .files = no_files,
     .changed = no_files,
     .source = PRODUCTS ORDERS,
     .alter = ALTER,
     .target = "source.db",
     .page = "SELECT o.order_id, o.day, o.total, json_group_array(json_object('name', p.name, "
             "'quantity', i.quantity, 'price', i.price)) FROM (SELECT * FROM orders WHERE user_id "
             "= ?1 ORDER BY order_id DESC LIMIT 10) o JOIN order_items i USING (order_id) JOIN "
             "products p USING (product_id) GROUP BY o.order_id ORDER BY o.order_id DESC",
     .summary = "SELECT day, count(*), sum(total) FROM orders GROUP BY day",
     .look = "SELECT max(order_id) FROM orders WHERE user_id = ?1"},
    {.name = "event_sourcing",
     .title = "event sourcing",
     .distribution = "event log",
     .consistency = "strong in a stream",
     .failures = "nothing: one log",
     .made_for = "an audit trail, replay",
     .processes = 1,
     .files = sourcing_files,
     .changed = sourcing_changed,
     .category = "user"},
    {.name = "cqrs",
     .title = "CQRS",
     .distribution = "written and read apart",
     .consistency = "eventual",
     .failures = "model stops or lags",
     .made_for = "reads unlike the writes",
     .processes = 2,
     .files = cqrs_files,
     .changed = cqrs_changed,
     .category = "order",
     .target = "reading.db",
     .page = READ_PAGE,
     .summary = READ_SUMMARY,
     .look = "SELECT max(order_id) FROM user_orders WHERE user_id = ?1",
     .model = "user_orders"},
    {.name = "materialized_view",
     .title = "materialized view",
     .distribution = "a stored result",
     .consistency = "as of the last refresh",
     .failures = "a refresh fails: it is old",
     .made_for = "expensive queries",
     .processes = 2,
     .files = view_files,
     .changed = view_changed,
     .category = "order",
     .target = "reading.db",
     .page = READ_PAGE,
     .summary = "SELECT day, orders, total FROM sales",
     .look = "SELECT max(last) FROM sales WHERE ?1 >= 0",
     .model = "user_orders",
     .view = "sales"},
};
