/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources_test -- which words of `sync:` go with which sources, and what handlers of a table's
 * changes may say.
 */
#include "test.h"

#include <string.h>

#include "folder.h"

#define MODEL "models/names/model.yaml"
#define HANDLERS "models/names/handlers.sql"

static void write(struct folder *folder)
{
    folder_init(folder);
    folder_write(folder, "book.yaml",
                 "book: b\n"
                 "databases:\n"
                 "  users: sqlite:users.db\n"
                 "  clubs: sqlite:clubs.db\n"
                 "  reading: sqlite:reading.db\n");
    folder_write(folder, "services/users.yaml",
                 "database: users\n"
                 "tables:\n"
                 "  people:\n"
                 "    columns: [id, name]\n"
                 "  teams:\n"
                 "  rooms:\n"
                 "    capture: cdc\n");
    folder_write(folder, "services/clubs.yaml", "database: clubs\ntables: {teams: }\n");
    folder_write(folder, "models/names/schema.sql", "CREATE TABLE names (id, name);");
    folder_write(folder, MODEL, "database: reading\nsync: cdc\nsource: [users.people]\n");
    folder_write(folder, "models/names/people.insert.sql",
                 "INSERT INTO names VALUES (:new.id, :new.name);");
}

static void assert_loads_with(const char *path, const char *text, const char *faults)
{
    struct folder folder;
    write(&folder);
    folder_write(&folder, path, text);
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, faults);
    assert_int_equal(folder.rc, faults[0] == 0 ? DBK_OK : DBK_EBOOK);
    folder_release(&folder);
}

static void test_book_sources__a_model_of_a_table_has_it_captured(void **state)
{
    (void)state;
    struct folder folder;
    write(&folder);
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "");
    assert_int_equal(folder.book->models[0].sync, DBK_SYNC_CDC);
    const struct dbk_capture_service *users =
        dbk_book_service(folder.book, DBK_SLICE_LITERAL("users"));
    assert_int_equal(dbk_capture_table(users, DBK_SLICE_LITERAL("people"))->kind, DBK_CAPTURE_CDC);
    assert_int_equal(dbk_capture_table(users, DBK_SLICE_LITERAL("teams"))->kind, DBK_CAPTURE_NONE);
    assert_int_equal(dbk_capture_table(users, DBK_SLICE_LITERAL("rooms"))->kind, DBK_CAPTURE_CDC);
    folder_release(&folder);
}

static void test_book_sources__words_and_sources_must_fit(void **state)
{
    (void)state;
#define SETTINGS(sync, source) "database: reading\nsync: " sync "\nsource: [" source "]\n"
    assert_loads_with(MODEL, SETTINGS("events", "users.people"),
                      MODEL ":2:7: `sync: events` follows events, and `users.people` is a "
                            "service's table\n");
    assert_loads_with(MODEL, SETTINGS("transaction", "users.people"),
                      MODEL ":2:7: `sync: transaction` follows events, and `users.people` is a "
                            "service's table\n");
    assert_loads_with(MODEL, SETTINGS("cdc", "order"),
                      MODEL ":3:10: `order` is no table of a service, as `sync: cdc` follows\n"
                            "models/names/people.insert.sql:1:1: `people.insert` is no change of "
                            "a source's table\n");
    assert_loads_with(MODEL, SETTINGS("cdc", "users.people, users.peple"),
                      MODEL ":3:24: `users.peple`: services/users.yaml names no such table\n");
    assert_loads_with(MODEL, SETTINGS("cdc", "users.people, user.teams"),
                      MODEL ":3:24: `user.teams` is no table of a service, as `sync: cdc` "
                            "follows\n");
    assert_loads_with(MODEL, SETTINGS("cdc", "users.people, users.teams, clubs.teams"),
                      MODEL ":3:37: `users.teams` and `clubs.teams` have the same name\n");
    assert_loads_with(MODEL, SETTINGS("polling", "users.rooms"),
                      MODEL ":2:7: services/users.yaml asks for `cdc` of `users.rooms`\n"
                            "models/names/people.insert.sql:1:1: `people.insert` is no change of "
                            "a source's table\n");
    assert_loads_with(MODEL, SETTINGS("cdb", "users.people"),
                      MODEL ":2:7: `cdb` is no way to sync\n");
#undef SETTINGS
}

static void test_book_sources__handlers_are_of_changes_that_there_are(void **state)
{
    (void)state;
    assert_loads_with(
        HANDLERS, "-- on: people.update, people.delete\nDELETE FROM names WHERE id = :old.id;", "");
    assert_loads_with(HANDLERS, "-- on: people.removed\nDELETE FROM names;",
                      HANDLERS ":2:1: `people.removed` is no change of a source's table\n");
    assert_loads_with("models/names/peple.update.sql", "DELETE FROM names;",
                      "models/names/peple.update.sql:1:1: `peple.update` is no change of a "
                      "source's table\n");
    assert_loads_with("models/names/Named.sql", "DELETE FROM names;",
                      "models/names/Named.sql:1:1: `Named` is no change of a source's table\n");
    assert_loads_with("models/names/people.upsert.sql", "DELETE FROM names;",
                      "models/names/people.upsert.sql: `people.upsert` is no name\n");
}

static void test_book_sources__images_have_what_their_change_has(void **state)
{
    (void)state;
    assert_loads_with(HANDLERS, "-- on: people.delete\nDELETE FROM names WHERE id = :new.id;",
                      HANDLERS ":2:30: a row that is deleted has no `:new.id`\n");
    assert_loads_with("models/names/people.insert.sql",
                      "INSERT INTO names\nVALUES (:new.id, :old.name);",
                      "models/names/people.insert.sql:2:18: a row that is inserted has no "
                      "`:old.name`\n");
    assert_loads_with(HANDLERS, "-- on: people.update\nUPDATE names SET name = :name;",
                      HANDLERS ":2:25: a change of a row has no `:name`\n");
    assert_loads_with(HANDLERS, "-- on: people.update\nUPDATE names SET name = :new.nme;",
                      HANDLERS ":2:25: the column `nme` of `people` is not captured\n");
    assert_loads_with(HANDLERS,
                      "-- on: people.update\n"
                      "UPDATE names SET name = :new.name WHERE id = :old.id AND :new IS NOT NULL "
                      "AND :_position > 0;",
                      "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test(test_book_sources__##name)
        TEST(a_model_of_a_table_has_it_captured),
        TEST(words_and_sources_must_fit),
        TEST(handlers_are_of_changes_that_there_are),
        TEST(images_have_what_their_change_has),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
