/* SPDX-License-Identifier: Apache-2.0 */
/*
 * letters_test -- events that a handler cannot digest are set aside, and no others.
 *
 * The log lies in the simulated disk, the databases in a folder of their own. `ledger` puts each
 * event into a row: one with n >= 100 is refused, one with a parent that is no row is refused when
 * the transaction ends.
 */
#include "test.h"

#include <ftw.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "model/letters.h"
#include "model/state.h"
#include "os/sim.h"

#define WAIT_US (INT64_C(20) * 1000000)

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct dbk_models *models;
static char folder[64];
static char path[96];

static const struct dbk_slice category = {.data = "order", .size = 5};
static const char schema[] = "CREATE TABLE ledger (position INTEGER PRIMARY KEY,"
                             " n INTEGER CHECK (n < 100), parent INTEGER REFERENCES ledger"
                             " DEFERRABLE INITIALLY DEFERRED);"
                             "CREATE TABLE seen (position INTEGER);";
/* The first statement's row is taken back with the second's refusal. */
static const char insert[] = "INSERT INTO seen VALUES (:_position);"
                             "INSERT INTO ledger VALUES (:_position, :n, :parent)";

static _Atomic bool slow;    /* letters take their time to be stored */
static _Atomic bool storing; /* one has begun to */

static int append_letters(void *context, const struct dbk_batch *batch,
                          struct dbk_append_result *result_out, struct dbk_error *err)
{
    (void)context;
    storing = true;
    if (slow)
        (void)usleep(300000);
    return dbk_store_append(store, batch, result_out, err);
}

static void open_book(enum dbk_model_sync sync, bool set_aside, enum dbk_model_personal personal)
{
    struct dbk_error err = {0};
    const struct dbk_handler handler = {.file = "models/ledger/handlers.sql",
                                        .line = 3,
                                        .type = DBK_SLICE_LITERAL("Placed"),
                                        .sql = DBK_SLICE_LITERAL(insert)};
    const struct dbk_model_definition definition = {.name = "ledger",
                                                    .database = "reading",
                                                    .database_path = path,
                                                    .sync = sync,
                                                    .categories = &category,
                                                    .category_count = 1,
                                                    .schema_file = "models/ledger/schema.sql",
                                                    .schema = DBK_SLICE_LITERAL(schema),
                                                    .handlers = &handler,
                                                    .handler_count = 1,
                                                    .set_aside = set_aside,
                                                    .personal = personal};
    assert_ok(
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &store, &err),
        &err);
    assert_ok(dbk_models_open(store, &models, &err), &err);
    dbk_models_set_append(models, append_letters, NULL);
    assert_ok(dbk_models_add(models, &definition, true, &err), &err);
}

static void start(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_models_start(models, &err), &err);
}

static void close_book(void)
{
    dbk_models_free(models);
    dbk_store_free(store);
    models = NULL;
    store = NULL;
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-letters-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/reading.db", folder);
    sim = dbk_sim_create(1);
    return 0;
}

static int remove_one(const char *name, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(name);
}

static int tear_down(void **state)
{
    (void)state;
    close_book();
    dbk_sim_free(sim);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Appends events in one batch; texts ends with NULL. The last one's position. */
static uint64_t append(const char *const *texts)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_new_event *events = dbk_alloc_zero(32, sizeof(*events));
    size_t count = 0;
    assert_non_null(events);
    for (; texts[count] != NULL; count++)
        events[count] = (struct dbk_new_event){.stream = DBK_SLICE_LITERAL("order-1"),
                                               .type = DBK_SLICE_LITERAL("Placed"),
                                               .data = dbk_slice_of(texts[count]),
                                               .occurred_us = DBK_TIME_NONE,
                                               .flags = DBK_RECORD_JSON};
    assert_ok(dbk_store_append(store, &(struct dbk_batch){.events = events, .count = count},
                               &result, &err),
              &err);
    dbk_free(events);
    dbk_letters_tell(models);
    return result.first_position + count - 1;
}

static uint64_t append_one(const char *text)
{
    return append((const char *const[]){text, NULL});
}

static void wait_for(uint64_t position)
{
    struct dbk_error err = {0};
    assert_ok(dbk_models_wait(models, "ledger", position, WAIT_US, &err), &err);
}

static int64_t ask(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, DBK_CONNECT_READ, &connection, &err), &err);
    assert_ok(dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, &err), &err);
    assert_int_equal(dbk_statement_step(statement, &err), 1);
    int64_t answer = dbk_statement_column(statement, 0).integer;
    dbk_statement_free(statement);
    dbk_connection_free(connection);
    return answer;
}

struct list {
    char positions[200];
    char reason[DBK_LETTERS_REASON_SIZE];
    uint64_t count;
    uint64_t tries;
};

static int note(const struct dbk_letter *letter, void *context)
{
    struct list *list = context;
    size_t size = strlen(list->positions);
    (void)snprintf(list->positions + size, sizeof(list->positions) - size, "%s%ju",
                   size == 0 ? "" : " ", (uintmax_t)letter->position);
    (void)snprintf(list->reason, sizeof(list->reason), "%.*s", DBK_SLICE_ARGS(letter->reason));
    list->count++;
    list->tries += letter->tries;
    return DBK_OK;
}

static struct list list_all(void)
{
    struct list list = {0};
    struct dbk_error err = {0};
    assert_ok(dbk_letters_list(models, 0, 0, note, &list, &err), &err);
    return list;
}

static void assert_letters(const char *positions)
{
    assert_string_equal(list_all().positions, positions);
    /* What is in the tables is what is no letter, and nothing of a letter is. */
    assert_int_equal(ask("SELECT count(*) FROM seen"), ask("SELECT count(*) FROM ledger"));
    assert_int_equal(ask("SELECT count(DISTINCT position) FROM seen"),
                     ask("SELECT count(*) FROM seen"));
}

static void test_model_letters__what_leaves_a_key_open_is_found_among_what_does_not(void **state)
{
    (void)state;
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_NONE);
    uint64_t last = append((const char *const[]){"{\"n\":1}", "{\"n\":2,\"parent\":3}", "{\"n\":3}",
                                                 "{\"n\":4,\"parent\":999}", "{\"n\":5}",
                                                 "{\"n\":100}", "{\"n\":7}", NULL});
    start();
    wait_for(last);
    assert_letters("4 6");
    assert_int_equal(ask("SELECT count(*) FROM ledger"), 5);
    assert_non_null(strstr(list_all().reason, "models/ledger/handlers.sql:3: CHECK constraint"));
}

static void test_model_letters__an_append_is_not_refused_for_what_is_set_aside(void **state)
{
    (void)state;
    struct dbk_letters_retried retried;
    struct dbk_error err = {0};
    open_book(DBK_SYNC_TRANSACTION, true, DBK_PERSONAL_NONE);
    start();
    assert_int_equal(append((const char *const[]){"{\"n\":1}", "{\"n\":100}", NULL}), 2);
    assert_letters("2");
    assert_int_equal(ask("SELECT count(*) FROM _daybook_letters"), 0); /* the book has them */
    /* 5 waits for 6, and in a batch where 7 leaves a key open that is not looked at. */
    uint64_t first = append_one("{\"n\":4}") + 1;
    char early[40];
    (void)snprintf(early, sizeof(early), "{\"n\":5,\"parent\":%ju}", (uintmax_t)first + 1);
    (void)append(
        (const char *const[]){early, "{\"n\":6}", "{\"n\":7,\"parent\":999}", "{\"n\":101}", NULL});
    assert_int_equal(list_all().count, 4);
    assert_int_equal(ask("SELECT count(*) FROM ledger"), 3);
    assert_ok(dbk_letters_retry(models, 0, NULL, 0, &retried, &err), &err);
    assert_int_equal(retried.retried, 1);
    assert_int_equal(retried.failed, 3);
    assert_int_equal(list_all().tries, 6);
    assert_int_equal(ask("SELECT n FROM ledger WHERE parent IS NOT NULL"), 5);
    assert_int_equal(ask("SELECT position FROM _daybook_models"),
                     (int64_t)dbk_store_last_position(store));
}

static void test_model_letters__are_found_again_behind_a_position_that_went_back(void **state)
{
    (void)state;
    char old[160];
    char command[400];
    struct dbk_letters_retried retried;
    struct dbk_error err = {0};
    const uint64_t dropped = 3;
    size_t count = 0;
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_NONE);
    start();
    wait_for(append_one("{\"n\":1}"));
    close_book();
    (void)snprintf(old, sizeof(old), "%s/old.db", folder);
    (void)snprintf(command, sizeof(command), "cp %s %s", path, old);
    assert_int_equal(system(command), 0); /* NOLINT: a fixed text of this test's own folder */
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_NONE);
    uint64_t last = append((const char *const[]){"{\"n\":100}", "{\"n\":100}",
                                                 "{\"n\":2,\"parent\":6}", "{\"n\":101}", NULL});
    start();
    wait_for(last);
    assert_letters("2 3 4 5");
    assert_ok(dbk_letters_drop(models, 0, &dropped, 1, &count, &err), &err);
    assert_int_equal(count, 1);
    close_book();
    (void)snprintf(command, sizeof(command), "rm -f %s* && cp %s %s", path, old, path);
    assert_int_equal(system(command), 0); /* NOLINT: as above */
    open_book(DBK_SYNC_EVENTS, false, DBK_PERSONAL_NONE);
    /* Nothing stops it: what failed then is known, what was dropped is not tried once more. */
    start();
    wait_for(last);
    assert_letters("2 4 5");
    assert_int_equal(ask("SELECT count(*) FROM ledger"), 1);
    assert_int_equal(dbk_letters_retry(models, 0, &dropped, 1, &retried, &err), DBK_ENOTFOUND);
}

static void test_model_letters__of_a_database_that_is_gone_count_no_more(void **state)
{
    (void)state;
    char command[200];
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_NONE);
    start();
    wait_for(append((const char *const[]){"{\"n\":1}", "{\"n\":100}", NULL}));
    assert_letters("2");
    close_book();
    (void)snprintf(command, sizeof(command), "rm -f %s*", path);
    assert_int_equal(system(command), 0); /* NOLINT: a fixed text of this test's own folder */
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_NONE);
    assert_int_equal(list_all().count, 0);
    start();
    wait_for(2);
    assert_letters("2");
    assert_int_equal(list_all().tries, 1);
}

static void test_model_letters__words_are_not_kept_where_they_may_be_personal(void **state)
{
    (void)state;
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_REBUILD);
    start();
    wait_for(append_one("{\"n\":100}"));
    assert_string_equal(list_all().reason,
                        "models/ledger/handlers.sql:3: a constraint refused it; the database's own "
                        "words may tell what is personal, and are not kept: a retry says them");
}

static void test_model_letters__too_many_stop_the_model(void **state)
{
    (void)state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_model_status status;
    char texts[100][120];
    struct dbk_new_event *events = dbk_alloc_zero(100, sizeof(*events));
    assert_non_null(events);
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_NONE);
    close_book();
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_NONE);
    for (unsigned i = 0; i < DBK_LETTERS_MAX; i++) {
        (void)snprintf(texts[i % 100], sizeof(texts[0]),
                       "{\"generation\":1,\"position\":%u,\"stream\":\"s\",\"version\":1,"
                       "\"type\":\"T\",\"tries\":1,\"reason\":\"\"}",
                       i + 1);
        events[i % 100] = (struct dbk_new_event){.stream = DBK_SLICE_LITERAL("$letters-ledger"),
                                                 .type = DBK_SLICE_LITERAL("LetterKept"),
                                                 .data = dbk_slice_of(texts[i % 100]),
                                                 .occurred_us = DBK_TIME_NONE,
                                                 .flags = DBK_RECORD_JSON};
        if (i % 100 == 99)
            assert_ok(dbk_store_append(store,
                                       &(struct dbk_batch){
                                           .events = events, .count = 100, .flags = DBK_APPEND_OWN},
                                       &result, &err),
                      &err);
    }
    dbk_free(events);
    close_book();
    open_book(DBK_SYNC_EVENTS, true, DBK_PERSONAL_NONE);
    start();
    uint64_t last = append_one("{\"n\":100}");
    assert_int_equal(dbk_models_wait(models, "ledger", last, WAIT_US, &err), DBK_ESCRIPT);
    assert_non_null(strstr(err.message, "has 10000 letters, and no more are kept"));
    assert_ok(dbk_models_status(models, 0, &status, &err), &err);
    assert_true(status.stopped);
    assert_int_equal(status.letters, DBK_LETTERS_MAX);
}

static void change(const char *sql)
{
    struct dbk_connection *connection = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, 0, &connection, &err), &err);
    assert_ok(dbk_connection_run(connection, sql, &err), &err);
    dbk_connection_free(connection);
}

static void test_model_letters__that_are_dropped_do_not_come_back(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    size_t count = 0;
    open_book(DBK_SYNC_TRANSACTION, true, DBK_PERSONAL_NONE);
    start();
    (void)append_one("{\"n\":1}");
    change("CREATE TRIGGER stuck BEFORE DELETE ON _daybook_letters BEGIN SELECT RAISE(ABORT, "
           "'stuck'); END");
    (void)append_one("{\"n\":100}");
    uint64_t position = strtoull(list_all().positions, NULL, 10);
    assert_int_equal(ask("SELECT count(*) FROM _daybook_letters"), 1);
    /* Its row would be a letter again: that is said, and nothing is dropped. */
    assert_int_equal(dbk_letters_drop(models, 0, &position, 1, &count, &err), DBK_EREFUSED);
    assert_int_equal(count, 0);
    assert_int_equal(list_all().count, 1);
    change("DROP TRIGGER stuck");
    assert_ok(dbk_letters_drop(models, 0, &position, 1, &count, &err), &err);
    close_book();
    open_book(DBK_SYNC_TRANSACTION, true, DBK_PERSONAL_NONE);
    start();
    assert_int_equal(list_all().count, 0);
}

static void *tell_them(void *context)
{
    (void)context;
    dbk_letters_tell(models);
    return NULL;
}

/* As whoever appends does, who holds none of the rebuild's locks. */
static bool tell_meanwhile(void *context, uint64_t done, uint64_t total)
{
    pthread_t other;
    (void)context;
    (void)done;
    (void)total;
    assert_int_equal(pthread_create(&other, NULL, tell_them, NULL), 0);
    (void)pthread_join(other, NULL);
    return true;
}

static void test_model_letters__of_a_rebuild_are_told_when_it_serves(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    open_book(DBK_SYNC_TRANSACTION, true, DBK_PERSONAL_NONE);
    start();
    (void)append((const char *const[]){"{\"n\":1}", "{\"n\":100}", NULL});
    assert_ok(dbk_models_rebuild(models, "ledger", tell_meanwhile, NULL, &err), &err);
    assert_letters("2");
    assert_int_equal(ask("SELECT count(*) FROM _daybook_letters"), 0);
}

static void test_model_letters__are_in_the_book_when_any_append_is_answered(void **state)
{
    (void)state;
    pthread_t other;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("order-1"),
                                  .type = DBK_SLICE_LITERAL("Placed"),
                                  .data = DBK_SLICE_LITERAL("{\"n\":100}"),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    open_book(DBK_SYNC_TRANSACTION, true, DBK_PERSONAL_NONE);
    start();
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
    /* Another thread's append tells the letter, and this one's is answered behind it. */
    slow = true;
    storing = false;
    assert_int_equal(pthread_create(&other, NULL, tell_them, NULL), 0);
    while (!storing)
        (void)usleep(1000);
    dbk_letters_tell(models);
    uint64_t count = list_all().count;
    (void)pthread_join(other, NULL);
    slow = false;
    assert_int_equal(count, 1);
}

/* ---- All at once ---- */

static _Atomic bool ends;

static void *retry_on(void *context)
{
    (void)context;
    while (!ends) {
        struct dbk_letters_retried retried;
        struct dbk_error err = {0};
        struct list list = {0};
        int rc = dbk_letters_retry(models, 0, NULL, 0, &retried, &err);
        assert_true(rc == DBK_OK || rc == DBK_EBUSY);
        assert_ok(dbk_letters_list(models, 0, 0, note, &list, &err), &err);
    }
    return NULL;
}

static void all_at_once(enum dbk_model_sync sync)
{
    pthread_t thread;
    struct dbk_error err = {0};
    ends = false;
    open_book(sync, true, DBK_PERSONAL_NONE);
    start();
    assert_int_equal(pthread_create(&thread, NULL, retry_on, NULL), 0);
    uint64_t last = 0;
    for (int i = 0; i < 40; i++) {
        last = append((const char *const[]){"{\"n\":1}", "{\"n\":100}", "{\"n\":2}", NULL});
        if (i == 20)
            assert_ok(dbk_models_rebuild(models, "ledger", NULL, NULL, &err), &err);
    }
    ends = true;
    (void)pthread_join(thread, NULL);
    wait_for(last);
    assert_int_equal(ask("SELECT count(*) FROM ledger"), 80);
    assert_int_equal(ask("SELECT count(*) FROM seen"), 80);
    assert_int_equal(list_all().count, 40);
}

static void test_model_letters__set_aside_while_others_are_retried(void **state)
{
    (void)state;
    all_at_once(DBK_SYNC_EVENTS);
}

static void test_model_letters__in_a_transaction_while_others_are_retried(void **state)
{
    (void)state;
    all_at_once(DBK_SYNC_TRANSACTION);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_model_letters__##name, set_up, tear_down)
        TEST(what_leaves_a_key_open_is_found_among_what_does_not),
        TEST(an_append_is_not_refused_for_what_is_set_aside),
        TEST(are_found_again_behind_a_position_that_went_back),
        TEST(of_a_database_that_is_gone_count_no_more),
        TEST(words_are_not_kept_where_they_may_be_personal),
        TEST(too_many_stop_the_model),
        TEST(that_are_dropped_do_not_come_back),
        TEST(of_a_rebuild_are_told_when_it_serves),
        TEST(are_in_the_book_when_any_append_is_answered),
        TEST(set_aside_while_others_are_retried),
        TEST(in_a_transaction_while_others_are_retried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
