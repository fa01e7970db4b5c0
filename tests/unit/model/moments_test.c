/* SPDX-License-Identifier: Apache-2.0 */
/*
 * moments_test -- when an event was in a model: the times lie where a clock beside them says, and
 * what is not known says why.
 *
 * The log lies in the simulated disk, the database in a folder of its own.
 */
#include "test.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "model/state.h"
#include "os/sim.h"

#define WAIT_US (INT64_C(10) * 1000000)

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct dbk_models *models;
static char folder[64];
static char path[96];

static const struct dbk_slice category = {.data = "order", .size = 5};

static void open_models(enum dbk_model_sync sync, bool writer)
{
    struct dbk_error err = {0};
    const struct dbk_handler handler = {
        .file = "models/ledger/Placed.sql",
        .line = 1,
        .type = DBK_SLICE_LITERAL("Placed"),
        .sql = DBK_SLICE_LITERAL("INSERT INTO ledger VALUES (:_position, :n)")};
    const struct dbk_model_definition definition = {
        .name = "ledger",
        .database = "reading",
        .database_path = path,
        .sync = sync,
        .categories = &category,
        .category_count = 1,
        .schema_file = "models/ledger/schema.sql",
        .schema = DBK_SLICE_LITERAL(
            "CREATE TABLE ledger (position INTEGER PRIMARY KEY, n INTEGER CHECK (n < 100));"),
        .handlers = &handler,
        .handler_count = 1};
    assert_ok(dbk_models_open(store, &models, &err), &err);
    assert_ok(dbk_models_add(models, &definition, writer, &err), &err);
    if (writer)
        assert_ok(dbk_models_start(models, &err), &err);
}

static int set_up(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-moments-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/reading.db", folder);
    sim = dbk_sim_create(1);
    assert_ok(
        dbk_store_open(
            &(struct dbk_store_options){.os = dbk_sim_os(sim), .folder = "data", .writer = true},
            &store, &err),
        &err);
    models = NULL;
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
    dbk_models_free(models);
    dbk_store_free(store);
    dbk_sim_free(sim);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static uint64_t append(const char *stream, const char *type, const char *data)
{
    struct dbk_error err = {0};
    struct dbk_append_result result;
    const struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                        .type = dbk_slice_of(type),
                                        .data = dbk_slice_of(data),
                                        .occurred_us = DBK_TIME_NONE,
                                        .flags = DBK_RECORD_JSON};
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
    return result.last_position;
}

static void wait_for(uint64_t position)
{
    struct dbk_error err = {0};
    assert_ok(dbk_models_wait(models, "ledger", position, WAIT_US, &err), &err);
}

static uint64_t append_posted(void)
{
    uint64_t position = append("order-1", "Placed", "{\"n\":1}");
    wait_for(position);
    return position;
}

static struct dbk_model_moments moments_of(uint64_t position)
{
    struct dbk_model_moments moments;
    const struct dbk_event event = {.position = position,
                                    .stream = DBK_SLICE_LITERAL("order-1"),
                                    .type = DBK_SLICE_LITERAL("Placed")};
    assert_int_equal(dbk_models_moments(models, 0, &event, &moments), 1);
    return moments;
}

static void check_times(enum dbk_model_sync sync)
{
    open_models(sync, true);
    for (int i = 0; i < 20; i++) {
        int64_t before_us = dbk_model_now_us();
        uint64_t position = append_posted();
        int64_t posted_us = dbk_model_now_us();
        struct dbk_model_moments moments = moments_of(position);
        assert_true(moments.applied);
        assert_in_range(moments.received_us, before_us, moments.applied_us);
        assert_in_range(moments.applied_us, moments.received_us, posted_us);
        assert_string_equal(moments.applied_why, "");
        assert_true(moments.seen_us == DBK_TIME_NONE);
        assert_non_null(strstr(moments.seen_why, "not yet"));
        dbk_models_seen(models, 0, position);
        int64_t seen_us = moments_of(position).seen_us;
        assert_in_range(seen_us, posted_us, dbk_model_now_us());
        /* The first read counts, and one of an older snapshot sees less. */
        dbk_models_seen(models, 0, position);
        dbk_models_seen(models, 0, position - 1);
        assert_true(moments_of(position).seen_us == seen_us);
    }
}

static void test_model_moments__events_are_applied_and_seen_when_they_are(void **state)
{
    (void)state;
    check_times(DBK_SYNC_EVENTS);
}

static void test_model_moments__so_are_those_of_a_shared_commit(void **state)
{
    (void)state;
    check_times(DBK_SYNC_TRANSACTION);
}

static void test_model_moments__only_what_has_a_handler_has_moments(void **state)
{
    struct dbk_model_moments moments;
    (void)state;
    open_models(DBK_SYNC_EVENTS, true);
    static const char *const others[][2] = {{"order-1", "Sent"}, {"bill-1", "Placed"}};
    for (size_t i = 0; i < 2; i++) {
        const struct dbk_event event = {.position = 1,
                                        .stream = dbk_slice_of(others[i][0]),
                                        .type = dbk_slice_of(others[i][1])};
        assert_int_equal(dbk_models_moments(models, 0, &event, &moments), 0);
    }
}

/* A process that is begun anew knows of nothing before it, and of all behind. */
static void test_model_moments__what_was_before_the_process_is_not_known(void **state)
{
    (void)state;
    open_models(DBK_SYNC_EVENTS, true);
    uint64_t before = append_posted();
    dbk_models_seen(models, 0, before);
    dbk_models_free(models);
    open_models(DBK_SYNC_EVENTS, true);
    uint64_t after = append_posted();
    dbk_models_seen(models, 0, after);
    struct dbk_model_moments moments = moments_of(before);
    assert_true(moments.applied && moments.applied_us == DBK_TIME_NONE);
    assert_non_null(strstr(moments.applied_why, "before this process began, at 2"));
    assert_true(moments.seen_us == DBK_TIME_NONE);
    assert_non_null(strstr(moments.seen_why, "before this process began, at 2"));
    assert_true(moments_of(after).applied_us != DBK_TIME_NONE);
    assert_true(moments_of(after).seen_us != DBK_TIME_NONE);
}

static void test_model_moments__what_fell_out_is_said_to_be_forgotten(void **state)
{
    (void)state;
    open_models(DBK_SYNC_TRANSACTION, true);
    uint64_t first = append_posted();
    dbk_models_seen(models, 0, first);
    for (int i = 0; i < DBK_TRAIL_STEPS; i++)
        dbk_models_seen(models, 0, append("order-1", "Placed", "{\"n\":1}"));
    struct dbk_model_moments moments = moments_of(first);
    assert_true(moments.applied && moments.applied_us == DBK_TIME_NONE);
    assert_non_null(strstr(moments.applied_why, "forgotten"));
    assert_non_null(strstr(moments.seen_why, "forgotten"));
    assert_true(moments_of(first + 1).applied_us != DBK_TIME_NONE);
    assert_true(moments_of(first + 1).seen_us != DBK_TIME_NONE);
}

static void test_model_moments__a_model_that_stopped_says_where(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    open_models(DBK_SYNC_EVENTS, true);
    uint64_t good = append_posted();
    uint64_t bad = append("order-1", "Placed", "{\"n\":100}");
    assert_int_equal(dbk_models_wait(models, "ledger", bad, WAIT_US, &err), DBK_ESCRIPT);
    struct dbk_model_moments moments = moments_of(bad);
    assert_false(moments.applied);
    assert_non_null(strstr(moments.applied_why, "stopped at position 1"));
    assert_true(moments_of(good).applied_us != DBK_TIME_NONE);
}

/* A rebuild goes over everything again: events were applied when they first were. */
static void test_model_moments__a_rebuild_changes_no_moment(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    open_models(DBK_SYNC_EVENTS, true);
    uint64_t position = append_posted();
    int64_t applied_us = moments_of(position).applied_us;
    assert_ok(dbk_models_rebuild(models, "ledger", NULL, NULL, &err), &err);
    assert_true(moments_of(position).applied_us == applied_us);
    uint64_t next = append_posted();
    assert_true(moments_of(next).applied_us >= applied_us);
}

static void test_model_moments__who_reads_beside_says_so(void **state)
{
    (void)state;
    open_models(DBK_SYNC_EVENTS, true);
    uint64_t position = append_posted();
    dbk_models_free(models);
    open_models(DBK_SYNC_EVENTS, false);
    dbk_models_seen(models, 0, position);
    struct dbk_model_moments moments = moments_of(position);
    assert_true(moments.applied_us == DBK_TIME_NONE && moments.seen_us == DBK_TIME_NONE);
    assert_non_null(strstr(moments.applied_why, "the process that holds the book"));
    assert_string_equal(moments.applied_why, moments.seen_why);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_model_moments__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_are_applied_and_seen_when_they_are),
        TEST(so_are_those_of_a_shared_commit),
        TEST(only_what_has_a_handler_has_moments),
        TEST(what_was_before_the_process_is_not_known),
        TEST(what_fell_out_is_said_to_be_forgotten),
        TEST(a_model_that_stopped_says_where),
        TEST(a_rebuild_changes_no_moment),
        TEST(who_reads_beside_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
