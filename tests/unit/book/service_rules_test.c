/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_rules_test -- services checked against each other: owners, contracts, categories, models.
 *
 * Each test writes a book of two services and compares every fault with its place.
 */
#include "test.h"

#include <string.h>

#include "folder.h"

static const char book_yaml[] = "book: b\n"
                                "databases:\n"
                                "  shop: postgres:env:SHOP\n"
                                "  file: sqlite:file.db\n"
                                "  reading: sqlite:reading.db\n";
static const char users_yaml[] = "database: shop\n"
                                 "tables:\n"
                                 "  people: {public: [id, name], version: 2}\n"
                                 "  secrets:\n"
                                 "  visits: {capture: cdc}\n"
                                 "events: {append: [user]}\n";

static void begin(struct folder *folder, const char *users, const char *orders)
{
    folder_init(folder);
    folder_write(folder, "book.yaml", book_yaml);
    folder_write(folder, "services/users.yaml", users);
    folder_write(folder, "services/orders.yaml", orders);
}

static void assert_faults_of(const char *users, const char *orders, const char *faults)
{
    struct folder folder;
    begin(&folder, users, orders);
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, faults);
    folder_release(&folder);
}

static void test_book_service_rules__a_whole_file_is_read(void **state)
{
    (void)state;
    struct folder folder;
    begin(&folder, users_yaml,
          "database: shop\n"
          "tables: {orders: }\n"
          "reads: {users.people: {columns: [id, name], version: 2}}\n"
          "events: {append: [order, basket], read: [user, users.visits]}\n"
          "models: [mine]\n");
    folder_write(&folder, "models/mine/model.yaml",
                 "database: reading\nsync: events\nsource: [order, user]\n");
    folder_write(&folder, "models/mine/schema.sql",
                 "CREATE TABLE mine (id INTEGER PRIMARY KEY);\n");
    folder_write(&folder, "models/mine/Placed.sql", "INSERT INTO mine VALUES (:id);\n");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "");
    assert_ok(folder.rc, &folder.err);
    assert_int_equal(folder.book->service_count, 2);
    const struct dbk_service_definition *orders = &folder.book->service_definitions[0];
    const struct dbk_service_definition *users = &folder.book->service_definitions[1];
    assert_string_equal(orders->own->name, "orders");
    assert_int_equal(orders->contract_count, 1);
    assert_string_equal(orders->contracts[0].service, "users");
    assert_string_equal(orders->contracts[0].table, "people");
    assert_int_equal(orders->contracts[0].version, 2);
    assert_int_equal(orders->contracts[0].column_count, 2);
    assert_string_equal(orders->contracts[0].columns[1], "name");
    assert_int_equal(orders->append_count, 2);
    assert_string_equal(orders->appends[1], "basket");
    assert_int_equal(orders->read_count, 2);
    assert_string_equal(orders->models[0], "mine");
    assert_int_equal(users->tables[0].version, 2);
    assert_int_equal(users->tables[0].public_count, 2);
    assert_int_equal(users->tables[1].version, 1);
    assert_int_equal(users->tables[1].public_count, 0);
    assert_int_equal(
        dbk_service_share(folder.book->service_definitions, folder.book->service_count, "shop"), 2);
    folder_release(&folder);
}

static void test_book_service_rules__a_table_has_one_owner(void **state)
{
    (void)state;
    assert_faults_of(users_yaml, "database: shop\ntables:\n  orders:\n  secrets:\n",
                     "services/users.yaml:4:3: the table `secrets` of the database `shop` is owned "
                     "by services/orders.yaml, too\n");
    assert_faults_of(users_yaml, "database: shop\noutbox: {table: visits}\n",
                     "services/users.yaml:5:3: the table `visits` of the database `shop` is owned "
                     "by services/orders.yaml, too\n");
    /* SQLite's names are the same in any case, PostgreSQL's are not. */
    assert_faults_of("database: file\ntables: {People: }\n", "database: file\ntables: {people: }\n",
                     "services/users.yaml:2:10: the table `People` of the database `file` is owned "
                     "by services/orders.yaml, too\n");
    assert_faults_of("database: shop\ntables: {People: }\n", "database: shop\ntables: {people: }\n",
                     "");
    assert_faults_of("database: shop\ntables: {orders: }\n", "database: file\ntables: {orders: }\n",
                     "");
    assert_faults_of(users_yaml, "database: shop\n",
                     "services/orders.yaml:1:1: the database `shop` is shared, and this service "
                     "owns no table of it\n");
    assert_faults_of(users_yaml, "database: shup\ntables: {orders: }\n",
                     "services/orders.yaml:1:11: book.yaml has no database `shup`\n");
}

#define ORDERS "database: shop\ntables: {orders: }\n"

static void test_book_service_rules__a_contract_names_what_there_is(void **state)
{
    (void)state;
    assert_faults_of(users_yaml,
                     ORDERS "reads:\n"
                            "  user.people: {columns: [id], version: 1}\n"
                            "  users.peopl: {columns: [id], version: 1}\n"
                            "  users.secrets: {columns: [id], version: 1}\n"
                            "  users.people: {columns: [id, nam], version: 3}\n"
                            "  orders.orders: {columns: [id], version: 1}\n"
                            "  people: {columns: [id], version: 1}\n",
                     "services/orders.yaml:4:3: there is no service `user`\n"
                     "services/orders.yaml:5:3: services/users.yaml names no table `peopl`\n"
                     "services/orders.yaml:6:29: `users.secrets` has no public column `id`\n"
                     "services/orders.yaml:7:32: `users.people` has no public column `nam`\n"
                     "services/orders.yaml:7:47: `users.people` has the version 2, and not 3 yet\n"
                     "services/orders.yaml:8:3: `orders.orders` is the service's own table\n"
                     "services/orders.yaml:9:3: `people` is no table of a service\n");
    assert_faults_of(users_yaml, ORDERS "reads: {users.people: {columns: [id], version: 1}}\n",
                     "services/orders.yaml:3:48: warning: the contract is written for version 1 of "
                     "`users.people`, which has 2\n");
    assert_faults_of(users_yaml, ORDERS "reads: {users.people: {columns: [], version: none}}\n",
                     "services/orders.yaml:3:33: the contract names no column\n"
                     "services/orders.yaml:3:46: \"none\" is no version\n");
    assert_faults_of(users_yaml, ORDERS "reads: {users.people: [id]}\n",
                     "services/orders.yaml:3:23: the contract on `users.people` is a list, where "
                     "settings are expected\n");
}

static void test_book_service_rules__nobody_reaches_into_another_database(void **state)
{
    (void)state;
    assert_faults_of(users_yaml,
                     "database: file\nreads: {users.people: {columns: [id], version: 2}}\n",
                     "services/orders.yaml:2:9: the table `users.people` lies in another database "
                     "than this service's\n");
}

static void test_book_service_rules__categories_are_ones_that_there_are(void **state)
{
    (void)state;
    assert_faults_of(users_yaml,
                     ORDERS "events:\n"
                            "  append: [order, order, users.people, $group, a-b]\n"
                            "  read: [usr, users.people, users.visits]\n",
                     "services/orders.yaml:4:19: the category `order` stands twice\n"
                     "services/orders.yaml:4:26: `users.people` is a table of a service\n"
                     "services/orders.yaml:4:40: the category `$group` is Daybook's own\n"
                     "services/orders.yaml:4:48: `a-b` is no category\n"
                     "services/orders.yaml:5:10: no service appends the category `usr`, and no "
                     "table has it\n"
                     "services/orders.yaml:5:15: the table `users.people` is not captured\n");
}

static void test_book_service_rules__models_follow_what_their_service_reads(void **state)
{
    (void)state;
    struct folder folder;
    begin(&folder, "database: shop\ntables: {people: }\nmodels: [mine, mien]\n",
          ORDERS "events: {append: [order]}\nmodels: [mine]\n");
    folder_write(&folder, "models/mine/model.yaml",
                 "database: reading\nsync: events\nsource: [order, user]\n");
    folder_write(&folder, "models/mine/schema.sql",
                 "CREATE TABLE mine (id INTEGER PRIMARY KEY);\n");
    folder_write(&folder, "models/mine/Placed.sql", "INSERT INTO mine VALUES (:id);\n");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults,
                  "services/orders.yaml:4:10: the model `mine` follows `user`, which this service "
                  "does not read\n"
                  "services/users.yaml:3:10: the model `mine` is owned by services/orders.yaml, "
                  "too\n"
                  "services/users.yaml:3:16: there is no model `mien`\n");
    folder_release(&folder);
}

/* SQLite takes a command apart without a module. */
static void assert_reach(const char *sql, const char *faults)
{
    struct folder folder;
    begin(&folder, "database: file\ntables:\n  people: {public: [id, name]}\n  secrets:\n",
          "database: file\ntables: {orders: }\n"
          "reads: {users.people: {columns: [id, name], version: 1}}\n");
    folder_write(&folder, "commands/Do.sql", sql);
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, faults);
    folder_release(&folder);
}

static void test_book_service_rules__commands_keep_to_the_contract(void **state)
{
    (void)state;
    assert_reach(
        "-- service: orders\n"
        "INSERT INTO orders (id, name) SELECT :id, p.name FROM people AS p WHERE p.id = 1;",
        "");
    assert_reach("-- service: users\nUPDATE people SET mail = :m WHERE id = :id;", "");
    assert_reach("-- service: orders\n"
                 "SELECT id FROM orders;\n"
                 "SELECT p.mail, p.name FROM people AS p;",
                 "commands/Do.sql:3:1: `people.mail` is read here, and is not in the contract\n");
    assert_reach("-- service: orders\nSELECT * FROM people;",
                 "commands/Do.sql:2:1: all columns of `people` are read here, and not those of the "
                 "contract\n");
    assert_reach("-- service: orders\nSELECT id FROM secrets;",
                 "commands/Do.sql:2:1: `secrets` is services/users.yaml's, and is read here "
                 "without a contract\n");
    assert_reach("-- service: orders\nDELETE FROM secrets;",
                 "commands/Do.sql:2:1: `secrets` is services/users.yaml's, and is changed here\n");
    /* What is over both may do what both may; it is warned of what that costs. */
    assert_reach("-- service: orders, users\nSELECT mail FROM people;\nDELETE FROM secrets;",
                 "commands/Do.sql:3:1: warning: `secrets` is services/users.yaml's, and is changed "
                 "here\n");
    /* A WITH of that name is no table, and a column that may be another table's is not held
       against it. */
    assert_reach("-- service: orders\nWITH secrets AS (SELECT 1 AS id) SELECT id FROM secrets;",
                 "");
    assert_reach("-- service: orders\nSELECT total FROM orders, people WHERE person = people.id;",
                 "");
}

static void test_book_service_rules__a_login_is_named_and_never_written(void **state)
{
    (void)state;
    struct folder folder;
    begin(&folder, users_yaml,
          "database: shop\ntables: {orders: }\nrole: shop_orders\nlogin: file:secrets/orders\n");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "");
    const struct dbk_service_definition *orders = &folder.book->service_definitions[0];
    const struct dbk_service_definition *users = &folder.book->service_definitions[1];
    assert_string_equal(orders->role, "shop_orders");
    assert_non_null(strstr(orders->login, "/secrets/orders"));
    assert_memory_equal(orders->login, "postgres:file:", sizeof("postgres:file:") - 1);
    assert_string_equal(users->role, "users");
    assert_null(users->login);
    folder_release(&folder);
    assert_faults_of(users_yaml,
                     "database: shop\ntables: {orders: }\nrole: pg_orders\n"
                     "login: user=orders password=secret\n",
                     "services/orders.yaml:3:7: `pg_orders` is no name for a role\n"
                     "services/orders.yaml:4:8: a service's connection string is named, not "
                     "written here\n");
    assert_faults_of(users_yaml, "database: file\ntables: {orders: }\nlogin: env:ORDERS\n", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_book_service_rules__a_whole_file_is_read),
        cmocka_unit_test(test_book_service_rules__a_table_has_one_owner),
        cmocka_unit_test(test_book_service_rules__a_contract_names_what_there_is),
        cmocka_unit_test(test_book_service_rules__nobody_reaches_into_another_database),
        cmocka_unit_test(test_book_service_rules__categories_are_ones_that_there_are),
        cmocka_unit_test(test_book_service_rules__commands_keep_to_the_contract),
        cmocka_unit_test(test_book_service_rules__a_login_is_named_and_never_written),
        cmocka_unit_test(test_book_service_rules__models_follow_what_their_service_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
