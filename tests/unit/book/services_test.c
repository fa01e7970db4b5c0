/* SPDX-License-Identifier: Apache-2.0 */
/*
 * services_test -- services/<name>.yaml is read, and each fault is named by its place.
 */
#include "test.h"

#include <string.h>

#include "folder.h"

static const char book_yaml[] = "book: b\n"
                                "databases:\n"
                                "  users: postgres:env:USERS\n"
                                "  reading: sqlite:reading.db\n";

static void load(struct folder *folder, const char *text)
{
    folder_init(folder);
    folder_write(folder, "book.yaml", book_yaml);
    folder_write(folder, "services/users.yaml", text);
    folder_load(folder, NULL);
}

static void assert_loads_with(const char *text, const char *faults)
{
    struct folder folder;
    load(&folder, text);
    assert_faults(&folder.faults, faults);
    assert_int_equal(folder.rc, DBK_EBOOK);
    folder_release(&folder);
}

static void test_book_services__a_whole_file_is_read(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "database: users\n"
                  "tables:\n"
                  "  orders:\n"
                  "  users:\n"
                  "    columns: [id, name, email, \"the avatar\"]\n"
                  "    mask: [email]\n"
                  "    subject: id\n"
                  "    personal: [name]\n"
                  "    capture: cdc\n");
    assert_faults(&folder.faults, "");
    assert_ok(folder.rc, &folder.err);
    assert_int_equal(folder.book->service_count, 1);
    const struct dbk_capture_service *service =
        dbk_book_service(folder.book, dbk_slice_of("users"));
    assert_ptr_equal(service, &folder.book->services[0]);
    assert_null(dbk_book_service(folder.book, dbk_slice_of("user")));
    assert_string_equal(service->name, "users");
    assert_string_equal(service->file, "services/users.yaml");
    assert_string_equal(service->database, "users");
    assert_string_equal(service->address, "postgres:env:USERS");
    assert_int_equal(service->table_count, 2);
    const struct dbk_capture_table *table = &service->tables[0];
    assert_string_equal(table->name, "orders");
    assert_int_equal(table->line, 3);
    assert_int_equal(table->column, 3);
    assert_int_equal(table->kind, DBK_CAPTURE_NONE);
    assert_int_equal(table->column_count + table->masked_count + table->personal_count, 0);
    assert_null(table->subject);
    table = &service->tables[1];
    assert_int_equal(table->kind, DBK_CAPTURE_CDC);
    assert_int_equal(table->column_count, 4);
    assert_string_equal(table->columns[3], "the avatar");
    assert_int_equal(table->masked_count, 1);
    assert_string_equal(table->masked[0], "email");
    assert_string_equal(table->subject, "id");
    assert_int_equal(table->personal_count, 1);
    assert_string_equal(table->personal[0], "name");
    folder_release(&folder);
}

static void test_book_services__what_is_missing_or_unknown_is_named(void **state)
{
    (void)state;
    assert_loads_with("tables: {users: }\n", "services/users.yaml:1:1: `database` is missing\n");
    assert_loads_with("database: user\ntables: {users: }\n",
                      "services/users.yaml:1:11: book.yaml has no database `user`\n");
    assert_loads_with("{}\n", "services/users.yaml:1:1: there is neither `database` nor `events` "
                              "nor `models`\n");
    assert_loads_with("database: users\ntables: {}\n",
                      "services/users.yaml:2:9: `tables` names no table\n");
    assert_loads_with("database: users\ntables: {users: [id]}\n",
                      "services/users.yaml:2:17: the table `users` is a list, where settings are "
                      "expected\n");
    assert_loads_with("database: users\ntables: {\"my-users\": }\n",
                      "services/users.yaml:2:10: `my-users` is no name\n");
    assert_loads_with("database: users\ntables:\n  users:\n    colums: [id]\n",
                      "services/users.yaml:4:5: unknown key `colums`\n");
    assert_loads_with("database: users\ntables:\n  users:\n    capture: cdb\n",
                      "services/users.yaml:4:14: `cdb` is no way to capture\n");
}

#define POLLED "database: users\ntables:\n  users:\n    capture: polling\n"

static void test_book_services__polling_has_defaults(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, POLLED "    cursor: changed\n    deletes: compare\n    every: 2 s\n"
                         "  other:\n    capture: polling\n");
    assert_int_equal(folder.rc, DBK_OK);
    const struct dbk_capture_service *service =
        dbk_book_service(folder.book, DBK_SLICE_LITERAL("users"));
    const struct dbk_capture_table *users = &service->tables[0];
    assert_int_equal(users->kind, DBK_CAPTURE_POLLING);
    assert_int_equal(users->polling.every_us, 2000000);
    assert_string_equal(users->polling.cursor, "changed");
    assert_int_equal(users->polling.overlap_us, 5000000);
    assert_int_equal(users->polling.deletes, DBK_DELETES_COMPARE);
    assert_int_equal(users->polling.compare_every_us, 60000000);
    const struct dbk_capture_table *other = &service->tables[1];
    assert_int_equal(other->polling.every_us, 1000000);
    assert_null(other->polling.cursor);
    assert_int_equal(other->polling.deletes, DBK_DELETES_COMPARE);
    assert_int_equal(other->polling.compare_every_us, 0);
    folder_release(&folder);
}

static void test_book_services__polling_that_would_miss_rows_is_a_fault(void **state)
{
    (void)state;
    assert_loads_with(POLLED "    cursor: changed\n",
                      "services/users.yaml:5:13: `cursor` alone does not see rows that are "
                      "deleted\n");
    assert_loads_with(POLLED "    deletes: sometimes\n",
                      "services/users.yaml:5:14: `deletes` is `compare` or `none`\n");
    assert_loads_with(POLLED "    every: soon\n",
                      "services/users.yaml:5:12: \"soon\" is no duration\n");
    assert_loads_with(POLLED "    overlap: 5 s\n",
                      "services/users.yaml:5:14: `overlap` stands without `cursor`\n");
    assert_loads_with(POLLED "    deletes: none\n    compare_every: 5 s\n",
                      "services/users.yaml:6:20: `compare_every` stands without `deletes: "
                      "compare`\n");
    assert_loads_with("database: users\ntables:\n  users:\n    capture: cdc\n    every: 5 s\n",
                      "services/users.yaml:5:12: `every` belongs to polling\n");
}

static void test_book_services__an_outbox_is_read(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "database: users\noutbox:\n  table: out\n  category: a\n  key: b\n"
                  "  after: mark\n  mark: sent\n  every: 1 s\n");
    assert_int_equal(folder.rc, DBK_OK);
    const struct dbk_capture_outbox *outbox =
        &dbk_book_service(folder.book, DBK_SLICE_LITERAL("users"))->outbox;
    assert_string_equal(outbox->table, "out");
    assert_int_equal(outbox->line, 3);
    assert_string_equal(outbox->id, "id");
    assert_null(outbox->stream);
    assert_string_equal(outbox->category, "a");
    assert_string_equal(outbox->key, "b");
    assert_string_equal(outbox->data, "data");
    assert_string_equal(outbox->mark, "sent");
    assert_int_equal(outbox->every_us, 1000000);
    folder_release(&folder);
    assert_loads_with("database: users\noutbox: {table: out, after: never}\n",
                      "services/users.yaml:2:29: `after` is `delete` or `mark`\n");
    assert_loads_with("database: users\noutbox: {table: out, after: mark}\n",
                      "services/users.yaml:2:29: `after: mark` stands without `mark`\n");
    assert_loads_with("database: users\noutbox: {table: out, mark: sent}\n",
                      "services/users.yaml:2:28: `mark` stands without `after: mark`\n");
    assert_loads_with("database: users\noutbox: {table: out, key: id}\n",
                      "services/users.yaml:2:27: `category` and `key` stand together\n");
    assert_loads_with("database: users\noutbox: {table: out, stream: s, key: k, category: c}\n",
                      "services/users.yaml:2:51: the stream is named twice\n");
    assert_loads_with("database: users\noutbox: {id: id}\n",
                      "services/users.yaml:2:9: `table` is missing\n");
}

static void test_book_services__columns_are_checked_against_each_other(void **state)
{
    (void)state;
    assert_loads_with("database: users\ntables:\n  users:\n    columns: []\n",
                      "services/users.yaml:4:14: `columns` names no column\n");
    assert_loads_with(
        "database: users\ntables:\n  users:\n    columns: [id, id, {}]\n",
        "services/users.yaml:4:19: the column `id` stands twice\n"
        "services/users.yaml:4:23: a column is a mapping, where a name is expected\n");
    assert_loads_with("database: users\ntables:\n  users:\n    columns: [id, email]\n"
                      "    mask: [emial]\n",
                      "services/users.yaml:5:12: `mask` names the column `emial`, which `columns` "
                      "leaves out\n");
    assert_loads_with("database: users\ntables:\n  users:\n    personal: [name]\n",
                      "services/users.yaml:4:15: `personal` stands without `subject`\n");
    assert_loads_with("database: users\ntables:\n  users:\n    subject: id\n",
                      "services/users.yaml:4:14: `subject` stands without `personal`\n");
    assert_loads_with("database: users\ntables:\n  users:\n    subject: name\n"
                      "    personal: [name, email]\n    mask: [email]\n",
                      "services/users.yaml:4:14: the column `name` is personal, and names the "
                      "person\n"
                      "services/users.yaml:5:22: the column `email` is masked\n");
    assert_loads_with("database: users\ntables:\n  users:\n    columns: [id]\n    subject: di\n"
                      "    personal: [id]\n",
                      "services/users.yaml:5:14: `subject` names the column `di`, which `columns` "
                      "leaves out\n");
}

static void test_book_services__a_hint_is_a_name_that_there_is(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "database: users\ntables:\n  users:\n    columns: [id, email]\n"
                  "    mask: [emial]\n");
    assert_int_equal(folder.faults.count, 1);
    assert_string_equal(folder.faults.items[0].fix, "did you mean `email`?");
    folder_release(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_book_services__a_whole_file_is_read),
        cmocka_unit_test(test_book_services__what_is_missing_or_unknown_is_named),
        cmocka_unit_test(test_book_services__columns_are_checked_against_each_other),
        cmocka_unit_test(test_book_services__an_outbox_is_read),
        cmocka_unit_test(test_book_services__polling_has_defaults),
        cmocka_unit_test(test_book_services__polling_that_would_miss_rows_is_a_fault),
        cmocka_unit_test(test_book_services__a_hint_is_a_name_that_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
