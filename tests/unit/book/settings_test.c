/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings_test -- book.yaml is read, an environment lies on top, and each fault is named by its
 * place. The book has no other files.
 */
#include "test.h"

#include <string.h>

#include "folder.h"

static void load(struct folder *folder, const char *text)
{
    folder_init(folder);
    folder_write(folder, "book.yaml", text);
    folder_load(folder, NULL);
}

static void test_book_settings__a_whole_file_is_read(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "book: my-shop_2\n"
                  "data: store\n"
                  "databases:\n"
                  "  reading: sqlite:reading.db\n"
                  "  other: sqlite:/var/other.db\n"
                  "limits: {event_bytes: 64 KiB, batch_events: 500}\n");
    assert_ok(folder.rc, &folder.err);
    assert_faults(&folder.faults, "");
    const struct dbk_book *book = folder.book;
    assert_string_equal(book->name, "my-shop_2");
    assert_string_equal(book->folder, "b");
    assert_string_equal(book->data, "b/store");
    assert_int_equal(book->event_size_max, 65536);
    assert_int_equal(book->batch_count_max, 500);
    assert_int_equal(book->database_count, 2);
    assert_string_equal(dbk_book_database(book, "reading")->path, "b/store/reading.db");
    assert_string_equal(dbk_book_database(book, "other")->path, "/var/other.db");
    assert_null(dbk_book_database(book, "Reading"));
    folder_release(&folder);
}

static void test_book_settings__what_is_left_out_has_a_default(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "book: b");
    assert_ok(folder.rc, &folder.err);
    assert_string_equal(folder.book->data, "b/data");
    assert_int_equal(folder.book->event_size_max, 1 << 20);
    assert_int_equal(folder.book->batch_count_max, 10000);
    assert_int_equal(folder.book->database_count, 0);
    folder_release(&folder);
}

static void test_book_settings__the_data_folder_may_be_given(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "book: b\ndata: /var/b\ndatabases: {r: sqlite:r.db}\n");
    assert_ok(folder.rc, &folder.err);
    assert_string_equal(folder.book->data, "/var/b");
    assert_string_equal(folder.book->databases[0].path, "/var/b/r.db");

    const struct dbk_book_options options = {
        .os = dbk_sim_os(folder.sim), .folder = "b", .data = "else"};
    struct dbk_book *book = NULL;
    assert_ok(dbk_book_load(&options, &folder.faults, &book, &folder.err), &folder.err);
    assert_string_equal(book->data, "else");
    assert_string_equal(book->databases[0].path, "else/r.db");
    dbk_book_free(book);
    folder_release(&folder);
}

static void test_book_settings__each_fault_is_named_by_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *faults;
    } cases[] = {
        {"", "book.yaml:1:1: the file holds no settings\n"},
        {"# nothing\n", "book.yaml:1:1: the file holds no settings\n"},
        {"~\n", "book.yaml:1:1: the file holds no settings\n"},
        {"\n  shop\n", "book.yaml:2:3: the file is a text, not a mapping of settings\n"},
        {"- shop\n", "book.yaml:1:1: the file is a list, not a mapping of settings\n"},
        {"data: d\n", "book.yaml:1:1: `book` is missing\n"},
        {"book:\n", "book.yaml:1:6: `book` has no value\n"},
        {"book: ~\n", "book.yaml:1:7: `book` has no value\n"},
        {"book: [a]\n", "book.yaml:1:7: `book` is a list, where a text is expected\n"},
        {"book: 2b\n", "book.yaml:1:7: \"2b\" is no name for a book\n"},
        {"book: a b\n", "book.yaml:1:7: \"a b\" is no name for a book\n"},
        {"book: \"\"\n", "book.yaml:1:7: \"\" is no name for a book\n"},
        {"book: b\ndata: \"\"\n", "book.yaml:2:7: `data` names no folder\n"},
        {"book: b\ndatabase: x\n", "book.yaml:2:1: unknown key `database`\n"},
        {"book: b\nservices: {}\n", "book.yaml:2:1: unknown key `services`\n"},
        {"book: b\ndatabases: x\n",
         "book.yaml:2:12: `databases` is a text, where a mapping is expected\n"},
        {"book: b\ndatabases: {r: [x]}\n",
         "book.yaml:2:16: the database `r` is a list, where a text is expected\n"},
        {"book: b\ndatabases: {r: }\n",
         "book.yaml:2:16: the database `r` is nothing, where a text is expected\n"},
        {"book: b\ndatabases: {r: r.db}\n",
         "book.yaml:2:16: the database `r` does not say of what kind it is\n"},
        {"book: b\ndatabases: {r: sqlit:r.db}\n",
         "book.yaml:2:16: `sqlit` databases cannot be used: sqlite, postgres, neo4j and mongodb "
         "can\n"},
        {"book: b\ndatabases: {r: postgres:secrets/r}\n",
         "book.yaml:2:16: a server's connection string is named, not written here\n"},
        {"book: b\ndatabases: {r: \"sqlite:\"}\n",
         "book.yaml:2:16: \"sqlite:\": no file is named\n"},
        {"book: b\ndatabases: {r: sqlite:x/}\n",
         "book.yaml:2:16: \"sqlite:x/\": no file is named\n"},
        {"book: b\ndatabases: {r: \"sqlite::memory:\"}\n",
         "book.yaml:2:16: \"sqlite::memory:\": the database must be a file\n"},
        {"book: b\ndatabases: {r: sqlite:file:x}\n",
         "book.yaml:2:16: \"sqlite:file:x\": a path is expected, not a URI\n"},
        {"book: b\ndatabases: {r: sqlite:a/../../x}\n",
         "book.yaml:2:16: \"sqlite:a/../../x\": the path leads out of the data directory\n"},
        {"book: b\ndatabases: {r: sqlite:./log/x}\n",
         "book.yaml:2:16: \"sqlite:./log/x\": this name in the data directory is Daybook's own\n"},
        {"book: b\ndatabases: {r: sqlite:LOCK}\n",
         "book.yaml:2:16: \"sqlite:LOCK\": this name in the data directory is Daybook's own\n"},
        {"book: b\ndatabases: {r: sqlite:x, q: sqlite:x}\n",
         "book.yaml:2:29: the databases `r` and `q` are the same\n"},
        {"book: b\ndatabases: {r-2: sqlite:x}\n", "book.yaml:2:13: `r-2` is no name\n"},
        {"book: b\nlimits: {event_bytes: much}\n", "book.yaml:2:23: \"much\" is no size\n"},
        {"book: b\nlimits: {event_bytes: 1 MB}\n", "book.yaml:2:23: \"1 MB\" is no size\n"},
        {"book: b\nlimits: {event_bytes: -1}\n", "book.yaml:2:23: \"-1\" is no size\n"},
        {"book: b\nlimits: {event_bytes: 99999999999999999999}\n",
         "book.yaml:2:23: \"99999999999999999999\" is no size\n"},
        {"book: b\nlimits: {event_bytes: 17179869184 GiB}\n",
         "book.yaml:2:23: \"17179869184 GiB\" is no size\n"},
        {"book: b\nlimits: {event_bytes: 1023}\n",
         "book.yaml:2:23: no event can be limited to \"1023\"\n"},
        {"book: b\nlimits: {event_bytes: 33 MiB}\n",
         "book.yaml:2:23: no event can be limited to \"33 MiB\"\n"},
        {"book: b\nlimits: {batch_events: 0}\n",
         "book.yaml:2:24: a batch cannot be limited to \"0\" events\n"},
        {"book: b\nlimits: {batch_events: 100001}\n",
         "book.yaml:2:24: a batch cannot be limited to \"100001\" events\n"},
        {"book: b\nlimits: {event_byte: 1 MiB}\n", "book.yaml:2:10: unknown key `event_byte`\n"},
        {"book: b\nkeys: {}\n", "book.yaml:2:7: `root` is missing\n"},
        {"book: b\nkeys: {root: secret}\n", "book.yaml:2:14: `root` names no file\n"},
        {"book: b\nkeys: {root: 'file:'}\n", "book.yaml:2:14: `root` names no file\n"},
        {"book: b\nhorizon: 28\n", "book.yaml:2:10: \"28\" is no duration\n"},
        {"book: b\nhorizon: 2 moons\n", "book.yaml:2:10: \"2 moons\" is no duration\n"},
        {"book: b\nkeys: {rot: file:s}\n",
         "book.yaml:2:7: `root` is missing\nbook.yaml:2:8: unknown key `rot`\n"},
        /* All faults come in one run, in the order of their places. */
        {"bok: b\nlimits: {batch_events: x}\ndatabases: {r: mysql:x}\n",
         "book.yaml:1:1: unknown key `bok`\n"
         "book.yaml:1:1: `book` is missing\n"
         "book.yaml:2:24: a batch cannot be limited to \"x\" events\n"
         "book.yaml:3:16: `mysql` databases cannot be used: sqlite, postgres, neo4j and mongodb "
         "can\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct folder folder;
        load(&folder, cases[i].text);
        assert_int_equal(folder.rc, DBK_EBOOK);
        assert_faults(&folder.faults, cases[i].faults);
        folder_release(&folder);
    }
}

static void test_book_settings__a_close_name_is_suggested(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "book: b\ndatbases: {r: sqlite:r.db}\nxyz: 1\nlimits: {event_byte: 1}\n");
    assert_string_equal(folder.faults.items[0].fix, "did you mean `databases`?");
    assert_string_equal(folder.faults.items[1].fix,
                        "known here: databases, limits, calls, book, data, schema, keys, horizon");
    assert_string_equal(folder.faults.items[2].fix, "did you mean `event_bytes`?");
    folder_release(&folder);
}

static void test_book_settings__a_secret_is_refused_and_never_shown(void **state)
{
    (void)state;
    static const char *const values[] = {"postgres://u:hunter2@host/db",
                                         "\"postgres:host=h password=hunter2\"", "hunter2@host"};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct folder folder;
        char text[256];
        (void)snprintf(text, sizeof(text), "book: b\ndatabases:\n  r: %s\n", values[i]);
        load(&folder, text);
        assert_int_equal(folder.faults.error_count, 2);
        assert_string_equal(folder.faults.items[0].what, "a secret seems to stand in this file");
        for (size_t j = 0; j < folder.faults.count; j++) {
            assert_int_equal(folder.faults.items[j].line, 3);
            assert_null(strstr(folder.faults.items[j].what, "hunter2"));
            assert_null(strstr(folder.faults.items[j].fix, "hunter2"));
        }
        folder_release(&folder);
    }
}

static void test_book_settings__a_server_is_known_by_where_its_secret_stands(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "book: b\ndatabases: {a: postgres:file:secrets/a, b: postgres:file:/etc/b, "
                  "c: postgres:env:C}\n");
    assert_int_equal(folder.rc, DBK_OK);
    assert_string_equal(folder.book->databases[0].path, "postgres:file:b/secrets/a");
    assert_string_equal(folder.book->databases[1].path, "postgres:file:/etc/b");
    assert_string_equal(folder.book->databases[2].path, "postgres:env:C");
    folder_release(&folder);
}

static void test_book_settings__an_environment_lies_on_top(void **state)
{
    (void)state;
    struct folder folder;
    load(&folder, "book: b\n"
                  "databases: {r: sqlite:r.db, q: sqlite:q.db}\n"
                  "limits: {event_bytes: 2 KiB, batch_events: 7}\n");
    folder_write(&folder, "book.prod.yaml",
                 "databases: {q: sqlite:/srv/q.db}\n"
                 "limits: {batch_events: 9}\n");
    folder_load(&folder, "prod");
    assert_ok(folder.rc, &folder.err);
    assert_int_equal(folder.book->database_count, 2);
    assert_string_equal(dbk_book_database(folder.book, "r")->path, "b/data/r.db");
    assert_string_equal(dbk_book_database(folder.book, "q")->path, "/srv/q.db");
    assert_int_equal(folder.book->event_size_max, 2048);
    assert_int_equal(folder.book->batch_count_max, 9);

    folder_write(&folder, "book.prod.yaml",
                 "book: c\n"
                 "databases: {rr: sqlite:x.db}\n");
    folder_load(&folder, "prod");
    assert_faults(&folder.faults, "book.prod.yaml:1:1: unknown key `book`\n"
                                  "book.prod.yaml:2:13: book.yaml has no database `rr`\n");
    assert_string_equal(folder.faults.items[1].fix, "did you mean `r`?");

    folder_load(&folder, NULL);
    assert_ok(folder.rc, &folder.err);
    folder_release(&folder);
}

static void test_book_settings__missing_files_are_told_apart(void **state)
{
    (void)state;
    struct folder folder;
    folder_init(&folder);
    folder_load(&folder, NULL);
    assert_int_equal(folder.rc, DBK_ENOTFOUND);
    assert_string_equal(folder.err.message, "b has no book.yaml: name a book's folder with --book, "
                                            "or make one with `daybook new`");
    folder_write(&folder, "book.yaml", "book: b\n");
    folder_load(&folder, "prod");
    assert_int_equal(folder.rc, DBK_ENOTFOUND);
    assert_string_equal(folder.err.message, "b has no book.prod.yaml: --env names one of its "
                                            "book.<environment>.yaml");
    folder_load(&folder, "../b/book");
    assert_int_equal(folder.rc, DBK_ENOTFOUND);
    folder_release(&folder);
}

/* A file of just 1 MiB is read; a byte more is a fault. */
static void test_book_settings__a_large_file_is_refused(void **state)
{
    (void)state;
    static char text[(1 << 20) + 1];
    struct folder folder;
    folder_init(&folder);
    memset(text, '#', sizeof(text));
    memcpy(text, "book: b\n", 8);
    folder_write_bytes(&folder, "book.yaml", dbk_slice(text, sizeof(text) - 1));
    folder_load(&folder, NULL);
    assert_ok(folder.rc, &folder.err);
    folder_write_bytes(&folder, "book.yaml", dbk_slice(text, sizeof(text)));
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "book.yaml: the file is larger than 1 MiB\n");
    folder_release(&folder);
}

/* Cut at every byte, a file is a book all the same or has faults. */
static void test_book_settings__a_cut_file_is_a_book_or_a_fault(void **state)
{
    (void)state;
    static const char good[] = "book: shop\n"
                               "data: data\n"
                               "databases:\n"
                               "  reading: sqlite:reading.db\n"
                               "limits: {event_bytes: 1 MiB, batch_events: 10000}\n";
    struct folder folder;
    folder_init(&folder);
    for (size_t size = 0; size < sizeof(good); size++) {
        folder_write_bytes(&folder, "book.yaml", dbk_slice(good, size));
        folder_load(&folder, NULL);
        assert_true(folder.rc == DBK_OK || folder.rc == DBK_EBOOK);
        if (folder.rc < 0)
            continue;
        for (size_t i = 0; i < folder.book->database_count; i++)
            assert_true(strncmp(folder.book->databases[i].path, "b/data/r", 8) == 0);
    }
    assert_ok(folder.rc, &folder.err);
    folder_release(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_book_settings__a_whole_file_is_read),
        cmocka_unit_test(test_book_settings__what_is_left_out_has_a_default),
        cmocka_unit_test(test_book_settings__the_data_folder_may_be_given),
        cmocka_unit_test(test_book_settings__each_fault_is_named_by_its_place),
        cmocka_unit_test(test_book_settings__a_close_name_is_suggested),
        cmocka_unit_test(test_book_settings__a_secret_is_refused_and_never_shown),
        cmocka_unit_test(test_book_settings__a_server_is_known_by_where_its_secret_stands),
        cmocka_unit_test(test_book_settings__an_environment_lies_on_top),
        cmocka_unit_test(test_book_settings__missing_files_are_told_apart),
        cmocka_unit_test(test_book_settings__a_large_file_is_refused),
        cmocka_unit_test(test_book_settings__a_cut_file_is_a_book_or_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
