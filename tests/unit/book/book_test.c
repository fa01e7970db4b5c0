/* SPDX-License-Identifier: Apache-2.0 */
/*
 * book_test -- a whole folder becomes a book, and every fault of every file is reported in one run.
 *
 * A fault is made by replacing one file of a small book that is good.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "folder.h"

static void make(struct folder *folder)
{
    folder_init(folder);
    folder_write_book(folder);
}

static void test_book_book__a_whole_folder_is_read(void **state)
{
    (void)state;
    struct folder folder;
    make(&folder);
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "");
    assert_ok(folder.rc, &folder.err);
    const struct dbk_book *book = folder.book;
    assert_int_equal(book->fold_count, 1);
    assert_string_equal(book->folds[0].name, "account");
    assert_string_equal(book->folds[0].file, "folds/account.lua");
    assert_true(dbk_slice_starts_with(book->folds[0].source, DBK_SLICE_LITERAL("return {")));
    assert_int_equal(book->command_count, 1);
    assert_string_equal(book->commands[0].name, "Deposit");
    assert_int_equal(book->import_count, 1);
    assert_string_equal(book->imports[0].name, "sample");

    assert_int_equal(book->model_count, 1);
    const struct dbk_model_definition *model = &book->models[0];
    assert_string_equal(model->name, "balances");
    assert_string_equal(model->database, "reading");
    assert_string_equal(model->database_path, "b/data/reading.db");
    assert_int_equal(model->sync, DBK_SYNC_EVENTS);
    assert_int_equal(model->category_count, 1);
    assert_slice_equal(model->categories[0], "account");
    assert_string_equal(model->schema_file, "models/balances/schema.sql");
    assert_int_equal(model->handler_count, 1);
    assert_slice_equal(model->handlers[0].type, "Deposited");
    assert_string_equal(model->handlers[0].file, "models/balances/Deposited.sql");

    assert_int_equal(book->query_count, 1);
    const struct dbk_book_query *query = &book->queries[0];
    assert_string_equal(query->name, "GetBalance");
    assert_ptr_equal(query->database, &book->databases[0]);
    assert_int_equal(query->parameter_count, 1);
    assert_string_equal(query->parameters[0], "account");
    assert_int_equal(book->view_count, 1);
    assert_string_equal(book->views[0].name, "totals");
    assert_string_equal(book->views[0].database, "reading");
    assert_string_equal(book->views[0].database_path, "b/data/reading.db");
    folder_release(&folder);
}

static void test_book_book__entries_are_sorted(void **state)
{
    (void)state;
    static const char *const names[] = {"c", "B", "a", "_d", "b2", "b10"};
    static const char *const sorted[] = {"B", "_d", "a", "account", "b10", "b2", "c"};
    struct folder folder;
    make(&folder);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "folds/%s.lua", names[i]);
        folder_write(&folder, path, "return { initial = {}, on = {} }\n");
    }
    folder_load(&folder, NULL);
    assert_ok(folder.rc, &folder.err);
    assert_int_equal(folder.book->fold_count, 7);
    for (size_t i = 0; i < 7; i++)
        assert_string_equal(folder.book->folds[i].name, sorted[i]);
    folder_release(&folder);
}

struct replaced {
    const char *path;
    const char *text;
    const char *faults; /* NULL: none */
};

static void assert_replaced(const struct replaced *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct folder folder;
        make(&folder);
        folder_write(&folder, cases[i].path, cases[i].text);
        folder_load(&folder, NULL);
        assert_faults(&folder.faults, cases[i].faults);
        bool warning = strstr(cases[i].faults, "warning: ") != NULL;
        assert_int_equal(folder.rc, warning ? DBK_OK : DBK_EBOOK);
        folder_release(&folder);
    }
}
#define ASSERT_REPLACED(cases) assert_replaced(cases, sizeof(cases) / sizeof((cases)[0]))

static void test_book_book__files_that_do_not_belong_are_named(void **state)
{
    (void)state;
    static const struct replaced cases[] = {
        {"folds/x.txt", "",
         "folds/x.txt: warning: this file is not read: its name does not end with `.lua`\n"},
        {"views/x.SQL", "",
         "views/x.SQL: warning: this file is not read: its name does not end with `.sql`\n"},
        {"models/balances/notes.md", "",
         "models/balances/notes.md: warning: this file is not read\n"},
        {"models/READ.me", "", "models/READ.me: warning: this is not read\n"},
        {"fold/order.lua", "return {}", "fold: warning: this is not read\n"},
        {"folds/2x.lua", "return {}", "folds/2x.lua: `2x` is no name\n"},
        {"folds/a.b.c.lua", "return {}", "folds/a.b.c.lua: `a.b.c` is no name\n"},
        {"folds/a..lua", "return {}", "folds/a..lua: `a.` is no name\n"},
        {"folds/.lua.lua", "return {", ""},
        {"commands/a-b.lua", "return {}", "commands/a-b.lua: `a-b` is no name\n"},
        {"models/balances/a.b.sql", "DELETE FROM balances",
         "models/balances/a.b.sql: `a.b` is no name\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct folder folder;
        make(&folder);
        folder_write(&folder, cases[i].path, cases[i].text);
        folder_load(&folder, NULL);
        assert_faults(&folder.faults, cases[i].faults);
        assert_int_equal(folder.rc, folder.faults.error_count > 0 ? DBK_EBOOK : DBK_OK);
        folder_release(&folder);
    }
}

static void test_book_book__schemas_are_read(void **state)
{
    (void)state;
#define SCHEMA "events/Deposited.schema.json"
#define ONE "{\"versions\": [{\"version\": 1, \"schema\": {}}]}"
    static const struct replaced cases[] = {
        {"events/Deposited.json", "",
         "events/Deposited.json: warning: this file is not read: its name does not end with "
         "`.schema.json` or `.lua`\n"},
        {"event/Deposited.schema.json", ONE, "event: warning: this is not read\n"},
        {"events/2x.schema.json", ONE, "events/2x.schema.json: `2x` is no name of an event type\n"},
        {SCHEMA, "{\"versions\": [\n{\"version\": 1, \"schema\": {\"typ\": \"object\"}}]}",
         SCHEMA ":2:27: unknown keyword `typ`\n"},
        {SCHEMA, "{", SCHEMA ":1:1: a comma, colon, bracket or value was expected\n"},
        {"events/Deposited.lua", "",
         "events/Deposited.lua: this upcaster does not say from which version to the next\n"},
        {"events/Deposited.1-3.lua", "",
         "events/Deposited.1-3.lua: this upcaster does not say from which version to the next\n"},
        {"events/Deposited.1-2.lua", "",
         "events/Deposited.1-2.lua: the type `Deposited` is not declared\n"},
        {"book.yaml", "book: b\ndatabases: {reading: sqlite:r.db}\nschema: strct\n",
         "book.yaml:3:9: `strct` is no way to check events\n"},
    };
    ASSERT_REPLACED(cases);

    struct folder folder;
    make(&folder);
    folder_write(&folder, "book.yaml",
                 "book: b\ndatabases: {reading: sqlite:r.db}\nschema: warn\n");
    folder_write(&folder, SCHEMA,
                 "{\"versions\": [{\"version\": 1, \"schema\": {}},\n"
                 "{\"version\": 2, \"schema\": {\"type\": \"object\"}}]}");
    folder_write(&folder, "events/Deposited.1-2.lua", "return function(data) return data end");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "");
    assert_int_equal(folder.book->schema_mode, DBK_SCHEMA_WARN);
    assert_int_equal(dbk_schemas_count(folder.book->schemas), 1);
    const struct dbk_schema *schema = dbk_schemas_at(folder.book->schemas, 0);
    assert_int_equal(dbk_schema_version(schema), 2);
    assert_string_equal(dbk_schema_script(schema)->file, "events/Deposited.1-2.lua");
    folder_release(&folder);
}

static void test_book_book__model_settings_are_checked(void **state)
{
    (void)state;
#define MODEL "models/balances/model.yaml"
    static const struct replaced cases[] = {
        {MODEL, "", MODEL ":1:1: the file holds no settings\n"},
        {MODEL, "database: reading\n",
         MODEL ":1:1: `sync` is missing\n" MODEL ":1:1: `source` is missing\n"},
        {MODEL, "database: readin\nsync: events\nsource: [account]\n",
         MODEL ":1:11: book.yaml has no database `readin`\n"},
        {MODEL, "sync: event\nsource: [account]\n", MODEL ":1:7: `event` is no way to sync\n"},
        {MODEL, "sync: events\nsource: account\n",
         MODEL ":2:9: `source` is a text, where a list is expected\n"},
        {MODEL, "sync: events\nsource: []\n", MODEL ":2:9: `source` names no category\n"},
        {MODEL, "sync: events\nsource: [account, [b], ~, \"\", account, order-1]\n",
         MODEL ":2:19: a category is a list, where a text is expected\n" MODEL
               ":2:24: a category is nothing, where a text is expected\n" MODEL
               ":2:27: \"\": a category is empty\n" MODEL ":2:31: `account` stands twice\n" MODEL
               ":2:40: \"order-1\": a category ends before a stream's first dash\n"},
        {MODEL, "sync: events\nsource: [account]\nmax_lag: 60\n",
         MODEL ":3:10: `max_lag: 60` is no such duration\n"},
        {MODEL, "sync: events\nsource: [account]\nmax_lag: 0 ms\n",
         MODEL ":3:10: `max_lag: 0 ms` is no such duration\n"},
        {MODEL, "sync: events\nsource: [account]\nmax_lag: 60 ms\nstale: refuze\n",
         MODEL ":4:8: `stale: refuze` does not exist\n"},
        {MODEL, "sync: events\nsource: [account]\nstale: refuse\n",
         MODEL ":3:8: `stale` needs `max_lag`\n"},
        {MODEL, "sync: events\nsource: [account]\non_error: set_aside\n",
         MODEL ":3:11: `on_error: set_aside` does not exist\n"},
        {MODEL, "sync: events\nsource: [account]\nmax_lags: 60 ms\n",
         MODEL ":3:1: unknown key `max_lags`\n"},
        {MODEL, "sync: events\nsource: [acount]\n",
         MODEL ": warning: no fold has the category `acount`\n"},
    };
    ASSERT_REPLACED(cases);
}

static void test_book_book__a_model_needs_its_files(void **state)
{
    (void)state;
    struct folder folder;
    make(&folder);
    folder_write(&folder, "models/empty/.keep", "");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "models/empty: the model has no model.yaml\n"
                                  "models/empty: the model has no schema.sql\n"
                                  "models/empty: the model has no handlers\n");
    folder_release(&folder);
}

static void test_book_book__queries_are_checked(void **state)
{
    (void)state;
#define QUERY "queries/GetBalance.sql"
    static const struct replaced cases[] = {
        {QUERY, "", QUERY ":1:1: the query has no SELECT\n"},
        {QUERY, "-- database: readin\nSELECT 1 AS a\n",
         QUERY ":1:14: book.yaml has no database `readin`\n"},
        {QUERY, "SELECT balance FROM balances WHERE account = ?\n",
         QUERY ":1:46: a query's parameter is a plain `:name`\n"},
        {QUERY, "SELECT balance FROM balances WHERE account = :a.b\n",
         QUERY ":1:46: a query's parameter is a plain `:name`\n"},
        {QUERY, "SELECT 1 AS a; SELECT 2 AS b\n",
         QUERY ":1:16: the query has a second statement\n"},
        {QUERY, "SELECT balance AS a, account AS A FROM balances\n",
         QUERY ":1:1: two columns are named `A`\n"},
    };
    ASSERT_REPLACED(cases);
}

static void test_book_book__a_query_names_what_is_in_scope(void **state)
{
    (void)state;
    struct folder folder;
    make(&folder);
    folder_write(&folder, "queries/GetBalance.sql", "-- ä\nSELECT balance\nFROM balancs\n");
    folder_write(&folder, "queries/GetTotals.sql",
                 "SELECT balance, position FROM totals, events\n");
    folder_load(&folder, NULL);
    assert_int_equal(folder.rc, DBK_EBOOK);
    assert_int_equal(folder.faults.count, 1);
    assert_string_equal(folder.faults.items[0].file, "queries/GetBalance.sql");
    assert_string_equal(folder.faults.items[0].fix, "did you mean `balances`?");
    folder_release(&folder);
}

static void test_book_book__a_query_only_reads(void **state)
{
    (void)state;
    struct folder folder;
    make(&folder);
    static const char *const writes[] = {"DELETE FROM balances\n",
                                         "DELETE FROM balances RETURNING account\n"};
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
        folder_write(&folder, "queries/GetBalance.sql", writes[i]);
        folder_load(&folder, NULL);
        assert_int_equal(folder.rc, DBK_EBOOK);
        assert_int_equal(folder.faults.count, 1);
        assert_string_equal(folder.faults.items[0].file, "queries/GetBalance.sql");
    }
    folder_release(&folder);
}

static void test_book_book__views_are_checked(void **state)
{
    (void)state;
#define VIEW "views/totals.sql"
    static const struct replaced cases[] = {
        {VIEW, "SELECT 1 AS a\n", VIEW ":1:1: the view does not say when it is refreshed\n"},
        {VIEW, "-- refresh: on demand\n-- database: x\nSELECT 1 AS a\n",
         VIEW ":2:14: book.yaml has no database `x`\n"},
        {VIEW, "-- refresh: on demand\nSELECT :a AS a\n", VIEW ":2:8: a view has no parameters\n"},
        {"views/events.sql", "-- refresh: on demand\nSELECT 1 AS a\n",
         "views/events.sql: `events` is the log's own table\n"},
        {"views/a__g12.sql", "-- refresh: on demand\nSELECT 1 AS a\n",
         "views/a__g12.sql: names that end with `__g` and a number are of generations\n"},
        {"views/sqlite_x.sql", "-- refresh: on demand\nSELECT 1 AS a\n",
         "views/sqlite_x.sql: names that begin with `sqlite_` are the database's own\n"},
        {"views/_daybook_x.sql", "-- refresh: on demand\nSELECT 1 AS a\n",
         "views/_daybook_x.sql: names that begin with `_daybook` are Daybook's own\n"},
    };
    ASSERT_REPLACED(cases);
}

static void test_book_book__one_name_is_made_once(void **state)
{
    (void)state;
    struct folder folder;
    make(&folder);
    folder_write(&folder, "models/zweite/model.yaml", "sync: events\nsource: [account]\n");
    folder_write(&folder, "models/zweite/schema.sql", "CREATE TABLE Balances (a);\n");
    folder_write(&folder, "models/zweite/handlers.sql",
                 "-- on: Deposited\nINSERT INTO Balances VALUES (1);\n");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "models/zweite/schema.sql: `Balances` is made by "
                                  "models/balances/schema.sql, too\n");

    /* In another database it is another table. */
    folder_write(&folder, "book.yaml",
                 "book: b\ndatabases: {reading: sqlite:r.db, other: sqlite:o.db}\n");
    folder_write(&folder, "models/zweite/model.yaml",
                 "database: other\nsync: events\nsource: [account]\n");
    folder_write(&folder, "views/totals.sql",
                 "-- refresh: on demand\n-- database: reading\n"
                 "SELECT sum(balance) AS balance FROM balances\n");
    folder_write(&folder, "queries/GetBalance.sql",
                 "-- database: reading\n"
                 "SELECT balance FROM balances\n");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults, "");
    folder_release(&folder);
}

static void test_book_book__scripts_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *text;
        unsigned line;
    } cases[] = {
        {"folds/account.lua", "return {\n  on = {\n", 3},
        {"commands/Deposit.lua", "local a\nb = = 1\n", 2},
        {"imports/sample.lua", "\n\nerror('no')\n", 3},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct folder folder;
        make(&folder);
        folder_write(&folder, cases[i].path, cases[i].text);
        folder_load(&folder, NULL);
        assert_int_equal(folder.rc, DBK_EBOOK);
        assert_int_equal(folder.faults.count, 1);
        assert_string_equal(folder.faults.items[0].file, cases[i].path);
        assert_int_equal(folder.faults.items[0].line, cases[i].line);
        assert_int_equal(folder.faults.items[0].column, 1);
        assert_null(strstr(folder.faults.items[0].what, cases[i].path));
        folder_release(&folder);
    }
}

static void test_book_book__an_import_needs_map(void **state)
{
    (void)state;
    static const struct replaced cases[] = {
        {"imports/sample.lua", "return { mapp = function() end }\n",
         "imports/sample.lua: the table it returns has no function `map`\n"},
        {"imports/sample.lua", "return { map = 1 }\n",
         "imports/sample.lua: the table it returns has no function `map`\n"},
    };
    ASSERT_REPLACED(cases);
}

static void test_book_book__all_faults_come_in_one_run(void **state)
{
    (void)state;
    struct folder folder;
    make(&folder);
    folder_write(&folder, "book.yaml", "book: small\ndatabases: {reading: sqlite:r.db}\nx: 1\n");
    folder_write(&folder, "imports/sample.lua", "return {}\n");
    folder_write(&folder, "models/balances/handlers.sql", "-- on: Withdrawn\n");
    folder_write(&folder, "queries/GetBalance.sql", "\xFF");
    folder_write(&folder, "views/totals.sql", "SELECT 1 AS a");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults,
                  "book.yaml:3:1: unknown key `x`\n"
                  "imports/sample.lua: the table it returns has no function `map`\n"
                  "models/balances/handlers.sql:2:1: the handler has no statement\n"
                  "queries/GetBalance.sql:1:1: byte 0xFF is no UTF-8\n"
                  "views/totals.sql:1:1: the view does not say when it is refreshed\n");
    assert_string_equal(folder.err.message, "the book b has 5 errors");
    folder_release(&folder);
}

/* A name that a lost model makes is not reported as missing. */
static void test_book_book__a_fault_brings_no_others_with_it(void **state)
{
    (void)state;
    struct folder folder;
    make(&folder);
    folder_write(&folder, "models/balances/model.yaml",
                 "database: x\nsync: events\n"
                 "source: [account]\n");
    folder_load(&folder, NULL);
    assert_faults(&folder.faults,
                  "models/balances/model.yaml:1:11: book.yaml has no database `x`\n");
    folder_release(&folder);
}

/* Every call to the system fails once: the load fails, or a file has a fault; never half a book. */
static void test_book_book__failing_calls_are_no_book(void **state)
{
    (void)state;
    static const int codes[] = {DBK_EIO, DBK_EDENIED, DBK_ENOMEM};
    struct folder folder;
    make(&folder);
    uint64_t before = dbk_sim_calls(folder.sim, 0);
    folder_load(&folder, NULL);
    uint64_t calls = dbk_sim_calls(folder.sim, 0) - before;
    assert_true(calls > 20);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        for (uint64_t at = 1; at <= calls; at++) {
            dbk_sim_fail_at(folder.sim, at, 0, codes[i], false);
            folder_load(&folder, NULL);
            assert_true(folder.rc < 0);
            if (codes[i] != DBK_EDENIED)
                assert_int_equal(folder.rc, codes[i]);
        }
    }
    dbk_sim_fail_at(folder.sim, 0, 0, DBK_OK, false);
    folder_load(&folder, NULL);
    assert_ok(folder.rc, &folder.err);
    folder_release(&folder);
}

/* On the real system, whose errors tell a folder from a file. */
static void test_book_book__folders_and_files_are_told_apart(void **state)
{
    (void)state;
    struct dbk_os *os = dbk_os_real();
    char root[] = "/tmp/daybook-book-XXXXXX";
    /* From the deepest to the root, for removing. */
    static const char *const made[] = {"folds/x.lua", "folds",  "views",
                                       "models/m",    "models", "book.yaml"};
    struct folder folder;
    char path[256];
    folder_init(&folder);
    assert_non_null(mkdtemp(root));
    for (size_t i = sizeof(made) / sizeof(made[0]); i-- > 0;) {
        bool file = strcmp(made[i], "views") == 0 || strcmp(made[i], "models/m") == 0 ||
                    strcmp(made[i], "book.yaml") == 0;
        (void)snprintf(path, sizeof(path), "%s/%s", root, made[i]);
        assert_ok(file ? dbk_os_replace_file(os, path, DBK_SLICE_LITERAL("book: b\n"), &folder.err)
                       : os->make_folder(os, path, &folder.err),
                  &folder.err);
    }
    const struct dbk_book_options options = {.os = os, .folder = root};
    int rc = dbk_book_load(&options, &folder.faults, &folder.book, &folder.err);
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", root, made[i]);
        os->remove(os, path, NULL);
    }
    os->remove(os, root, NULL);
    assert_int_equal(rc, DBK_EBOOK);
    assert_faults(&folder.faults, "folds/x.lua: this is a folder, where a file is expected\n"
                                  "models/m: this is a file, where a folder is expected\n"
                                  "views: this is a file, where a folder is expected\n");
    folder_release(&folder);
}

/* ---- Memory ---- */

static long allocations;      /* since the last reset */
static long allocation_fails; /* which one; 0: none */

static bool refuses(void)
{
    return ++allocations == allocation_fails;
}

static void *allocate(size_t size)
{
    return refuses() ? NULL : malloc(size);
}

static void *reallocate(void *memory, size_t size)
{
    return refuses() ? NULL : realloc(memory, size);
}

/* Every allocation fails once: the load says so or does without. */
static void test_book_book__failing_allocations_are_no_book(void **state)
{
    (void)state;
    struct folder folder;
    make(&folder);
    folder_load(&folder, NULL); /* What others keep for good is kept now. */
    allocations = 0;
    folder_load(&folder, NULL);
    long count = allocations;
    for (long at = 1; at <= count; at++) {
        allocations = 0;
        allocation_fails = at;
        folder_load(&folder, NULL);
        allocation_fails = 0;
        /* Lua collects its garbage and asks again, so that some fail without harm. */
        if (folder.rc != DBK_ENOMEM && folder.rc != DBK_OK)
            fail_msg("allocation %ld of %ld: %d, \"%s\"", at, count, folder.rc, folder.err.message);
    }
    folder_load(&folder, NULL);
    assert_ok(folder.rc, &folder.err);
    folder_release(&folder);
}

static void load_example(struct folder *folder, const char *name)
{
    char path[4096];
    const struct dbk_book_options options = {.os = dbk_os_real(),
                                             .folder = example_path(name, path)};
    folder_init(folder);
    folder->rc = dbk_book_load(&options, &folder->faults, &folder->book, &folder->err);
    assert_faults(&folder->faults, "");
    assert_ok(folder->rc, &folder->err);
}

static void test_book_book__the_examples_are_books(void **state)
{
    (void)state;
    struct folder folder;
    load_example(&folder, "shop");
    assert_string_equal(folder.book->name, "shop");
    assert_int_equal(folder.book->command_count, 2);
    assert_int_equal(folder.book->models[0].handler_count, 5);
    assert_slice_equal(folder.book->models[0].handlers[3].type, "LineReturned");
    assert_int_equal(folder.book->view_count, 2);
    assert_string_equal(folder.book->queries[0].parameters[0], "user_id");
    folder_release(&folder);

    load_example(&folder, "bank");
    assert_string_equal(folder.book->name, "bank");
    assert_int_equal(folder.book->models[0].sync, DBK_SYNC_TRANSACTION);
    assert_int_equal(folder.book->models[0].handler_count, 3);
    folder_release(&folder);
}

static void read_example(const char *path, struct dbk_buf *bytes)
{
    char full[4096];
    struct dbk_error err = {0};
    dbk_buf_init(bytes, 1 << 20);
    assert_ok(dbk_os_read_file(dbk_os_real(), example_path(path, full), 1 << 20, bytes, &err),
              &err);
}

/* The shop's files cut at every byte: faults, or a book in which each definition is whole. */
static void test_book_book__cut_files_are_a_book_or_faults(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "book.yaml", "models/user_orders/model.yaml", "models/user_orders/schema.sql",
        "models/user_orders/handlers.sql", "queries/GetMyOrders.sql"};
    const size_t count = sizeof(paths) / sizeof(paths[0]);
    struct folder folder;
    struct dbk_buf files[sizeof(paths) / sizeof(paths[0])];
    folder_init(&folder);
    for (size_t i = 0; i < count; i++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "shop/%s", paths[i]);
        read_example(path, &files[i]);
        folder_write_bytes(&folder, paths[i], dbk_buf_slice(&files[i]));
    }
    for (size_t i = 0; i < count; i++) {
        for (size_t size = 0; size <= files[i].size; size++) {
            folder_write_bytes(&folder, paths[i], dbk_slice(files[i].data, size));
            folder_load(&folder, NULL);
            assert_true(folder.rc == DBK_OK || folder.rc == DBK_EBOOK);
            if (folder.rc < 0)
                continue;
            const struct dbk_book *book = folder.book;
            assert_true(book->name[0] != '\0' && book->database_count == 1);
            assert_true(book->model_count == 1 && book->query_count == 1);
            assert_true(book->models[0].category_count == 1 && book->models[0].handler_count > 0);
            assert_true(book->models[0].schema.size > 0 && book->queries[0].sql.size > 0);
        }
        assert_ok(folder.rc, &folder.err);
    }
    for (size_t i = 0; i < count; i++)
        dbk_buf_release(&files[i]);
    folder_release(&folder);
}

int main(void)
{
    const struct dbk_allocator allocator = {
        .allocate = allocate, .reallocate = reallocate, .release = free};
    dbk_set_allocator(&allocator);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_book_book__a_whole_folder_is_read),
        cmocka_unit_test(test_book_book__entries_are_sorted),
        cmocka_unit_test(test_book_book__files_that_do_not_belong_are_named),
        cmocka_unit_test(test_book_book__schemas_are_read),
        cmocka_unit_test(test_book_book__model_settings_are_checked),
        cmocka_unit_test(test_book_book__a_model_needs_its_files),
        cmocka_unit_test(test_book_book__queries_are_checked),
        cmocka_unit_test(test_book_book__a_query_names_what_is_in_scope),
        cmocka_unit_test(test_book_book__a_query_only_reads),
        cmocka_unit_test(test_book_book__views_are_checked),
        cmocka_unit_test(test_book_book__one_name_is_made_once),
        cmocka_unit_test(test_book_book__scripts_are_checked),
        cmocka_unit_test(test_book_book__an_import_needs_map),
        cmocka_unit_test(test_book_book__all_faults_come_in_one_run),
        cmocka_unit_test(test_book_book__a_fault_brings_no_others_with_it),
        cmocka_unit_test(test_book_book__failing_calls_are_no_book),
        cmocka_unit_test(test_book_book__folders_and_files_are_told_apart),
        cmocka_unit_test(test_book_book__failing_allocations_are_no_book),
        cmocka_unit_test(test_book_book__the_examples_are_books),
        cmocka_unit_test(test_book_book__cut_files_are_a_book_or_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
