/* SPDX-License-Identifier: Apache-2.0 */
/*
 * models_test -- rows and position always agree: through failures, refusals, a lost commit and
 * rebuilds.
 *
 * The log lies in the simulated disk, the databases in a folder of their own. `ledger` puts each
 * event it sees into a row, so that the rows name the events they came from.
 */
#include "test.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/state.h"
#include "os/sim.h"

#define WAIT_US (INT64_C(10) * 1000000)

static struct dbk_sim *sim;
static struct dbk_os *os; /* the simulator's, but for a process that dies */
static char data[96];
static struct dbk_store *store;
static struct dbk_models *models;
static char folder[64];
static char path[96];

static const struct dbk_slice category = {.data = "order", .size = 5};
static const char schema[] = "CREATE TABLE ledger (position INTEGER PRIMARY KEY, version INTEGER,"
                             " n INTEGER CHECK (n < 100), parent INTEGER REFERENCES ledger"
                             " DEFERRABLE INITIALLY DEFERRED);";
static const char insert[] = "INSERT INTO ledger VALUES (:_position, :_version, :n, :parent)";

static struct dbk_handler handler_of(const char *sql)
{
    return (struct dbk_handler){.file = "models/ledger/handlers.sql",
                                .line = 3,
                                .type = DBK_SLICE_LITERAL("Placed"),
                                .sql = dbk_slice_of(sql)};
}

static struct dbk_model_definition definition_of(const char *name, enum dbk_model_sync sync,
                                                 const char *schema_sql,
                                                 const struct dbk_handler *handler)
{
    return (struct dbk_model_definition){.name = name,
                                         .database = "reading",
                                         .database_path = path,
                                         .sync = sync,
                                         .categories = &category,
                                         .category_count = 1,
                                         .schema_file = "models/ledger/schema.sql",
                                         .schema = dbk_slice_of(schema_sql),
                                         .handlers = handler,
                                         .handler_count = 1};
}

static void open_store(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = os, .folder = data, .writer = true},
                             &store, &err),
              &err);
    assert_ok(dbk_models_open(store, &models, &err), &err);
}

static void close_store(void)
{
    dbk_models_free(models);
    dbk_store_free(store);
    models = NULL;
    store = NULL;
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-models-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/reading.db", folder);
    (void)snprintf(data, sizeof(data), "data");
    sim = dbk_sim_create(1);
    os = dbk_sim_os(sim);
    open_store();
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
    close_store();
    dbk_sim_free(sim);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void add(const char *name, enum dbk_model_sync sync, const char *schema_sql, const char *sql)
{
    struct dbk_handler handler = handler_of(sql);
    struct dbk_model_definition definition = definition_of(name, sync, schema_sql, &handler);
    struct dbk_error err = {0};
    assert_ok(dbk_models_add(models, &definition, true, &err), &err);
}

static void start(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_models_start(models, &err), &err);
}

static int append(const char *text, struct dbk_error *err)
{
    struct dbk_append_result result;
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("order-1"),
                                  .type = DBK_SLICE_LITERAL("Placed"),
                                  .data = dbk_slice_of(text),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    return dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, err);
}

static void append_good(int count)
{
    struct dbk_error err = {0};
    for (int i = 0; i < count; i++)
        assert_ok(append("{\"n\":1}", &err), &err);
}

static void wait_for(const char *name, uint64_t position)
{
    struct dbk_error err = {0};
    assert_ok(dbk_models_wait(models, name, position, WAIT_US, &err), &err);
}

static struct dbk_model_status status_of(const char *name)
{
    struct dbk_model_status status;
    struct dbk_error err = {0};
    size_t index = 0;
    assert_ok(dbk_models_find(models, name, &index, &err), &err);
    assert_ok(dbk_models_status(models, index, &status, &err), &err);
    return status;
}

/* One integer, read on a session of its own, as anybody would. */
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

/* Rows are those of the events up to the position, no more and no fewer, whenever one looks. */
#define ROWS "SELECT count(*) FROM ledger"
#define POSITION "SELECT position FROM _daybook_models WHERE model = 'ledger' AND serving"
#define DIFFERENCE                                                                                 \
    "SELECT (SELECT count(*) FROM ledger) - (SELECT position FROM _daybook_models WHERE "          \
    "model = 'ledger' AND serving)"

static void test_model_models__rows_and_position_agree_at_every_moment(void **state)
{
    (void)state;
    add("ledger", DBK_SYNC_EVENTS, schema, insert);
    start();
    for (int i = 0; i < 60; i++) {
        append_good(i % 7);
        assert_int_equal(ask(DIFFERENCE), 0);
    }
    wait_for("ledger", dbk_store_last_position(store));
    assert_int_equal(ask(POSITION), dbk_store_last_position(store));
    assert_int_equal(ask(DIFFERENCE), 0);
    assert_int_equal(ask("SELECT count(*) FROM ledger WHERE position <> version"), 0);
}

static void test_model_models__a_failing_handler_stops_its_model_alone(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    add("ledger", DBK_SYNC_EVENTS, schema, insert);
    add("other", DBK_SYNC_EVENTS, "CREATE TABLE other (at INTEGER);",
        "INSERT INTO other VALUES (:_position)");
    append_good(5);
    assert_ok(append("{\"n\":100}", &err), &err);
    append_good(3);
    start();
    wait_for("other", 9);
    wait_for("ledger", 5);
    assert_int_equal(dbk_models_wait(models, "ledger", 6, WAIT_US, &err), DBK_ESCRIPT);
    assert_string_equal(err.message,
                        "model ledger: models/ledger/handlers.sql:3: CHECK constraint failed: "
                        "n < 100 (event 6, Placed of order-1 version 6)");
    struct dbk_model_status status = status_of("ledger");
    assert_true(status.stopped);
    assert_int_equal(status.position, 5);
    assert_int_equal(status.lag_events, 4);
    assert_int_equal(ask(ROWS), 5);
    assert_int_equal(ask(POSITION), 5);
    assert_int_equal(ask("SELECT count(*) FROM other"), 9);
    assert_false(status_of("other").stopped);
}

static void test_model_models__a_row_without_its_parent_stops_the_model(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    add("ledger", DBK_SYNC_EVENTS, schema, insert);
    append_good(2);
    assert_ok(append("{\"n\":1,\"parent\":77}", &err), &err);
    append_good(2);
    start();
    assert_int_equal(dbk_models_wait(models, "ledger", 3, WAIT_US, &err), DBK_ESCRIPT);
    assert_string_equal(err.message, "model ledger: a foreign key is left without its row "
                                     "behind event 3");
    assert_int_equal(ask(ROWS), 2);
    assert_int_equal(ask(POSITION), 2);
}

/* Where a batch ends is nothing that may change what is posted. */
static void test_model_models__a_parent_may_come_much_later(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    add("ledger", DBK_SYNC_EVENTS, schema, insert);
    assert_ok(append("{\"n\":1,\"parent\":2500}", &err), &err);
    append_good(2600);
    start();
    wait_for("ledger", 2601);
    assert_int_equal(ask(DIFFERENCE), 0);
}

static void test_model_models__a_stopped_model_is_healed_by_a_rebuild(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    add("ledger", DBK_SYNC_EVENTS, schema, insert);
    append_good(2);
    assert_ok(append("{\"n\":100}", &err), &err);
    start();
    assert_int_equal(dbk_models_wait(models, "ledger", 3, WAIT_US, &err), DBK_ESCRIPT);
    close_store();
    open_store();
    add("ledger", DBK_SYNC_EVENTS, schema,
        "INSERT INTO ledger VALUES (:_position, :_version, min(:n, 99), NULL)");
    start();
    assert_true(status_of("ledger").changed);
    assert_int_equal(dbk_models_wait(models, "ledger", 3, WAIT_US, &err), DBK_ESCRIPT);
    assert_ok(dbk_models_rebuild(models, "ledger", NULL, NULL, &err), &err);
    append_good(2);
    wait_for("ledger", 5);
    struct dbk_model_status status = status_of("ledger");
    assert_false(status.stopped);
    assert_false(status.changed);
    assert_int_equal(status.generation, 2);
    assert_int_equal(ask(ROWS), 5);
    assert_int_equal(ask("SELECT max(n) FROM ledger"), 99);
    assert_int_equal(ask("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%g1'"), 0);
}

static void test_model_models__a_refused_batch_leaves_no_trace(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    static const struct {
        const char *data;
        const char *message;
    } bad[] = {
        {"{\"n\":100}", "model ledger: models/ledger/handlers.sql:3: CHECK constraint failed: "
                        "n < 100 (event 3, Placed of order-1 version 3)"},
        {"{\"n\":1,\"parent\":77}", NULL},
    };
    add("ledger", DBK_SYNC_TRANSACTION, schema, insert);
    start();
    append_good(2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(append(bad[i].data, &err), DBK_EREFUSED);
        if (bad[i].message != NULL)
            assert_string_equal(err.message, bad[i].message);
        else
            assert_non_null(strstr(err.message, "would be left without its row"));
        assert_int_equal(dbk_store_last_position(store), 2);
        assert_int_equal(ask(ROWS), 2);
        assert_int_equal(ask(POSITION), 2);
    }
    append_good(1); /* gets the position the refused ones would have had */
    assert_int_equal(dbk_store_last_position(store), 3);
    assert_int_equal(ask("SELECT max(position) FROM ledger"), 3);
    assert_int_equal(ask(DIFFERENCE), 0);
    assert_int_equal(status_of("ledger").lag_events, 0);
}

/* What the store does with a group of batches, without a log. */
static int apply(uint64_t position, const char *first, const char *second, struct dbk_error *err)
{
    struct dbk_event events[2] = {{.position = position,
                                   .version = position,
                                   .stream = DBK_SLICE_LITERAL("order-1"),
                                   .type = DBK_SLICE_LITERAL("Placed"),
                                   .data = dbk_slice_of(first),
                                   .occurred_us = DBK_TIME_NONE,
                                   .flags = DBK_RECORD_JSON}};
    events[1] = events[0];
    events[1].position++;
    events[1].version++;
    if (second != NULL)
        events[1].data = dbk_slice_of(second);
    return dbk_participant_apply(models, events, second == NULL ? 1 : 2, err);
}

static void test_model_models__a_hostile_batch_is_refused_alone(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    add("ledger", DBK_SYNC_TRANSACTION, schema, insert);
    start();
    assert_ok(apply(1, "{\"n\":1}", NULL, &err), &err);
    assert_int_equal(apply(2, "{\"n\":2}", "{\"n\":100}", &err), DBK_EREFUSED);
    assert_int_equal(apply(2, "{\"n\":2}", "{\"n\":2,\"parent\":9}", &err), DBK_EREFUSED);
    assert_int_equal(apply(2, "{\"n\":2}", "no JSON", &err), DBK_EREFUSED);
    assert_ok(apply(2, "{\"n\":3,\"parent\":3}", "{\"n\":4}", &err), &err);
    assert_int_equal(ask(ROWS), 0);
    dbk_participant_commit(models, true, 3);
    assert_int_equal(ask(ROWS), 3);
    assert_int_equal(ask("SELECT sum(n) FROM ledger"), 1 + 3 + 4);
    assert_int_equal(ask(POSITION), 3);
    assert_ok(apply(4, "{\"n\":5}", NULL, &err), &err);
    dbk_participant_commit(models, false, 3); /* the log did not take it */
    assert_int_equal(ask(DIFFERENCE), 0);
    assert_int_equal(ask(POSITION), 3);
}

static void die(void *context, bool stored, uint64_t last_position)
{
    (void)context;
    (void)stored;
    (void)last_position;
    _exit(7);
}

/* Posts two events, and dies between the log's commit of a third and the database's. */
static void live_and_die(void)
{
    struct dbk_error err = {0};
    open_store();
    add("ledger", DBK_SYNC_TRANSACTION, schema, insert);
    start();
    append_good(2);
    dbk_store_set_participant(store, &(struct dbk_participant){models, dbk_participant_apply, die});
    dbk_ignore(append("{\"n\":5}", &err));
}

static void test_model_models__a_commit_that_never_came_is_made_up_for(void **state)
{
    (void)state;
    int status = 0;
    struct dbk_error err = {0};
    close_store();
    (void)snprintf(data, sizeof(data), "%s/data", folder);
    os = dbk_os_real();
    pid_t child = fork();
    if (child == 0) {
        live_and_die();
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    assert_int_equal(ask(POSITION), 2);
    assert_int_equal(ask(ROWS), 2);
    open_store();
    assert_int_equal(dbk_store_last_position(store), 3);
    add("ledger", DBK_SYNC_TRANSACTION, schema, insert);
    assert_int_equal(status_of("ledger").position, 2);
    start(); /* before anything is served */
    assert_int_equal(ask(POSITION), 3);
    assert_int_equal(ask("SELECT n FROM ledger WHERE position = 3"), 5);
    assert_int_equal(append("{\"n\":100}", &err), DBK_EREFUSED);
    append_good(1);
    assert_int_equal(ask(DIFFERENCE), 0);
    assert_int_equal(ask(ROWS), 4);
}

struct watch {
    uint64_t until;
    uint64_t first; /* what was done when it was first asked; 0: not yet */
    int64_t least;
    int64_t most;
};

static bool look_and_go_on(void *context, uint64_t done, uint64_t total)
{
    struct watch *watch = context;
    (void)total;
    watch->first = watch->first == 0 ? done : watch->first;
    int64_t sum = ask("SELECT sum(n) FROM ledger");
    watch->least = sum < watch->least ? sum : watch->least;
    watch->most = sum > watch->most ? sum : watch->most;
    return done < watch->until;
}

static void test_model_models__readers_see_the_old_tables_or_the_new(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct watch watch = {.until = 2000, .least = INT64_MAX};
    struct dbk_new_event events[5000];
    struct dbk_append_result result;
    for (size_t i = 0; i < 5000; i++)
        events[i] = (struct dbk_new_event){.stream = DBK_SLICE_LITERAL("order-1"),
                                           .type = DBK_SLICE_LITERAL("Placed"),
                                           .data = DBK_SLICE_LITERAL("{\"n\":1}"),
                                           .occurred_us = DBK_TIME_NONE,
                                           .flags = DBK_RECORD_JSON};
    assert_ok(dbk_store_append(store, &(struct dbk_batch){.events = events, .count = 5000}, &result,
                               &err),
              &err);
    add("ledger", DBK_SYNC_EVENTS, schema, insert);
    start();
    wait_for("ledger", 5000);
    close_store();
    open_store();
    add("ledger", DBK_SYNC_EVENTS, schema,
        "INSERT INTO ledger VALUES (:_position, :_version, 2 * :n, :parent)");
    start();
    append_good(1); /* still posted by the definition the tables were built with */
    wait_for("ledger", 5001);
    assert_true(status_of("ledger").changed);
    assert_int_equal(ask("SELECT sum(n) FROM ledger"), 5001);

    assert_int_equal(dbk_models_rebuild(models, "ledger", look_and_go_on, &watch, &err),
                     DBK_ESTOPPED);
    assert_int_equal(status_of("ledger").generation, 1);
    int64_t built = ask("SELECT position FROM _daybook_models WHERE generation = 2");
    assert_true(built >= 1 && built < 5001);
    watch.until = UINT64_MAX;
    watch.first = 0;
    assert_int_equal(ask("SELECT count(*) FROM ledger__g2"), built);
    assert_ok(dbk_models_rebuild(models, "ledger", look_and_go_on, &watch, &err), &err);
    assert_true(watch.first > (uint64_t)built); /* gone on with, not begun again */
    assert_int_equal(watch.least, 5001);
    assert_int_equal(watch.most, 5001);
    assert_int_equal(ask("SELECT sum(n) FROM ledger"), 10002);
    assert_int_equal(status_of("ledger").generation, 2);
    assert_false(status_of("ledger").changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_model_models__##name, set_up, tear_down)
        TEST(rows_and_position_agree_at_every_moment),
        TEST(a_failing_handler_stops_its_model_alone),
        TEST(a_row_without_its_parent_stops_the_model),
        TEST(a_parent_may_come_much_later),
        TEST(a_stopped_model_is_healed_by_a_rebuild),
        TEST(a_refused_batch_leaves_no_trace),
        TEST(a_hostile_batch_is_refused_alone),
        TEST(a_commit_that_never_came_is_made_up_for),
        TEST(readers_see_the_old_tables_or_the_new),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
