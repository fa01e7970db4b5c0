/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fold_test -- a state is the same by whatever way it came about: with all snapshots, with none,
 * with any of them damaged, by version, time or occurred, and again with every call failing. The
 * oracle is a folds object without a folder, which replays from the first event.
 */
#include "test.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fold/fold.h"
#include "os/sim.h"

#define STATE_SIZE_MAX ((size_t)1 << 20)
#define EVERY 10
#define COUNT 47
#define SECOND INT64_C(1000000)

/*
 * Keeps a sum, and what JSON does not bring back as it was: a list that was not marked and is empty
 * later (filled before a snapshot, emptied behind it), and a number that is no integer to Lua.
 */
static const char counter[] =
    "return { initial = { sum = 0, list = array{} }, snapshot = { every = 10 }, on = {\n"
    "  Added = function(state, data)\n"
    "    state.sum = state.sum + data.n\n"
    "    if data.n % 10 == 5 then state.made = { data.n } end\n"
    "    if data.n % 10 == 2 and state.made then table.remove(state.made) end\n"
    "    state.before = tostring(state.half)\n"
    "    state.half = data.n / 2\n"
    "  end,\n"
    "  Bad = function() return 5 end,\n"
    "  Worse = function(state, data)\n"
    "    return data.x.y\n"
    "  end,\n"
    "} }";

struct fixture {
    struct dbk_sim *sim;
    struct dbk_store *store;
    struct dbk_folds *folds; /* with snapshots */
    struct dbk_folds *plain; /* without */
};

static struct dbk_folds *open_folds(struct fixture *fixture, const char *folder, bool keep,
                                    const char *source)
{
    struct dbk_folds *folds = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_folds_open(fixture->store, dbk_sim_os(fixture->sim), folder, keep, &folds, &err),
              &err);
    assert_ok(
        dbk_folds_add(folds, DBK_SLICE_LITERAL("c"), "folds/c.lua", dbk_slice_of(source), &err),
        &err);
    return folds;
}

static void append_to(struct fixture *fixture, const char *stream, const char *type,
                      const char *data, int64_t occurred)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                  .type = dbk_slice_of(type),
                                  .data = dbk_slice_of(data),
                                  .meta = DBK_SLICE_LITERAL("{\"by\":\"me\"}"),
                                  .occurred_us = occurred,
                                  .flags = DBK_RECORD_JSON};
    dbk_sim_pass_us(fixture->sim, SECOND);
    assert_ok(dbk_store_append(fixture->store, &(struct dbk_batch){.events = &event, .count = 1},
                               &result, &err),
              &err);
}

static void append(struct fixture *fixture, const char *type, const char *data, int64_t occurred)
{
    append_to(fixture, "c-1", type, data, occurred);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    struct dbk_error err = {0};
    fixture = (struct fixture){.sim = dbk_sim_create(7)};
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(fixture.sim),
                                                         .folder = "d",
                                                         .writer = true,
                                                         .holder = "a test"},
                             &fixture.store, &err),
              &err);
    fixture.folds = open_folds(&fixture, "d/snapshots", true, counter);
    fixture.plain = open_folds(&fixture, NULL, false, counter);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    dbk_folds_free(fixture->folds);
    dbk_folds_free(fixture->plain);
    dbk_store_free(fixture->store);
    dbk_sim_free(fixture->sim);
    return 0;
}

static void fill(struct fixture *fixture)
{
    char data[40];
    for (int i = 1; i <= COUNT; i++) {
        (void)snprintf(data, sizeof(data), "{\"n\":%d}", i);
        append(fixture, i == 25 ? "Unknown" : "Added", data, DBK_TIME_NONE);
    }
}

static int read_state(struct dbk_folds *folds, const struct dbk_fold_at *at, struct dbk_buf *state,
                      struct dbk_fold_result *result, struct dbk_error *err)
{
    dbk_buf_reset(state);
    return dbk_fold_state(folds, DBK_SLICE_LITERAL("c-1"), at, state, result, err);
}

/* Both ways answer alike; returns how the one with snapshots came about. */
static struct dbk_fold_result compare(struct fixture *fixture, const struct dbk_fold_at *at)
{
    struct dbk_fold_result result = {0};
    struct dbk_fold_result expected = {0};
    struct dbk_buf states[2];
    struct dbk_error err = {0};
    dbk_buf_init(&states[0], STATE_SIZE_MAX);
    dbk_buf_init(&states[1], STATE_SIZE_MAX);
    assert_ok(read_state(fixture->folds, at, &states[0], &result, &err), &err);
    assert_ok(read_state(fixture->plain, at, &states[1], &expected, &err), &err);
    if (!dbk_slice_equal(dbk_buf_slice(&states[0]), dbk_buf_slice(&states[1])))
        fail_msg("version %" PRIu64 ": %.*s is not %.*s", at->version,
                 DBK_SLICE_ARGS(dbk_buf_slice(&states[0])),
                 DBK_SLICE_ARGS(dbk_buf_slice(&states[1])));
    assert_int_equal(result.version, expected.version);
    assert_int_equal(result.position, expected.position);
    assert_int_equal(result.time_us, expected.time_us);
    assert_int_equal(expected.snapshot_version, 0);
    dbk_buf_release(&states[0]);
    dbk_buf_release(&states[1]);
    return result;
}

static void take_snapshots(struct fixture *fixture)
{
    struct dbk_error err = {0};
    for (uint64_t version = EVERY; version <= COUNT; version += EVERY)
        assert_ok(dbk_fold_snapshot(fixture->folds, DBK_SLICE_LITERAL("c-1"), version, &err), &err);
}

static void test_fold_fold__a_snapshot_changes_nothing_but_the_way(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    take_snapshots(fixture);
    for (uint64_t version = 1; version <= COUNT; version++) {
        struct dbk_fold_result result = compare(fixture, &(struct dbk_fold_at){.version = version});
        assert_int_equal(result.version, version);
        assert_int_equal(result.snapshot_version, version / EVERY * EVERY);
        assert_int_equal(result.replayed, version % EVERY);
    }
    assert_int_equal(compare(fixture, &(struct dbk_fold_at){0}).snapshot_version, 40);
}

static void test_fold_fold__reads_keep_what_they_pass(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    struct dbk_fold_result result = compare(fixture, &(struct dbk_fold_at){.version = 27});
    assert_int_equal(result.snapshot_version, 0);
    assert_int_equal(result.replayed, 27);
    result = compare(fixture, &(struct dbk_fold_at){.version = 27});
    assert_int_equal(result.snapshot_version, 20);
    assert_int_equal(result.replayed, 7);
    result = compare(fixture, &(struct dbk_fold_at){.version = 12});
    assert_int_equal(result.snapshot_version, 10);
}

static void test_fold_fold__by_time_is_the_version_of_that_time(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_fold_result result;
    int64_t times[COUNT + 1];
    fill(fixture);
    take_snapshots(fixture);
    for (uint64_t version = 1; version <= COUNT; version++)
        times[version] = compare(fixture, &(struct dbk_fold_at){.version = version}).time_us;
    for (uint64_t version = 1; version <= COUNT; version++) {
        result = compare(fixture, &(struct dbk_fold_at){.time_us = times[version]});
        assert_int_equal(result.version, version);
        assert_int_equal(result.snapshot_version, version / EVERY * EVERY);
        result = compare(fixture, &(struct dbk_fold_at){.time_us = times[version] - 1});
        assert_int_equal(result.version, version - 1);
    }
}

/* Events that occurred out of order: those up to an instant, in version order. */
static void test_fold_fold__by_occurred_takes_what_had_occurred(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_buf text;
    struct dbk_error err = {0};
    char data[40];
    dbk_buf_init(&text, STATE_SIZE_MAX);
    for (int i = 1; i <= 30; i++) {
        (void)snprintf(data, sizeof(data), "{\"n\":%d}", i);
        append(fixture, "Added", data, (i == 5 ? 25 : i) * SECOND);
    }
    take_snapshots(fixture);
    for (int at = 1; at <= 30; at++) {
        int64_t sum = 0;
        uint64_t last = 0;
        uint64_t folded = 0;
        char expected[60];
        for (int i = 1; i <= 30; i++) {
            if ((i == 5 ? 25 : i) > at)
                continue;
            sum += i;
            last = (uint64_t)i;
            folded++;
        }
        struct dbk_fold_result result =
            compare(fixture, &(struct dbk_fold_at){.occurred_us = at * SECOND});
        assert_int_equal(result.version, last);
        assert_int_equal(result.snapshot_version + result.replayed, folded);
        /* Up to 24 the snapshots hold event 5, which had not occurred. */
        assert_int_equal(result.snapshot_version, at < 25 ? 0 : at / EVERY * EVERY);
        assert_ok(read_state(fixture->folds, &(struct dbk_fold_at){.occurred_us = at * SECOND},
                             &text, &result, &err),
                  &err);
        dbk_buf_append_char(&text, 0);
        (void)snprintf(expected, sizeof(expected), "\"sum\":%" PRId64 "}", sum);
        assert_non_null(strstr(text.data, expected));
    }
    dbk_buf_release(&text);
}

static void test_fold_fold__a_stream_without_events_has_the_initial_state(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_buf text;
    struct dbk_error err = {0};
    struct dbk_fold_result result;
    dbk_buf_init(&text, STATE_SIZE_MAX);
    assert_ok(read_state(fixture->folds, NULL, &text, &result, &err), &err);
    assert_slice_equal(dbk_buf_slice(&text), "{\"list\":[],\"sum\":0}");
    assert_int_equal(result.version, 0);
    fill(fixture);
    assert_ok(read_state(fixture->folds, &(struct dbk_fold_at){.time_us = 1}, &text, &result, &err),
              &err);
    assert_slice_equal(dbk_buf_slice(&text), "{\"list\":[],\"sum\":0}");
    assert_int_equal(result.version, 0);
    assert_int_equal(
        dbk_fold_state(fixture->folds, DBK_SLICE_LITERAL("other-1"), NULL, &text, &result, &err),
        DBK_ENOTFOUND);
    dbk_buf_release(&text);
}

static int count_name(const char *name, void *context)
{
    (void)name;
    *(size_t *)context += 1;
    return DBK_OK;
}

static size_t count_snapshots(struct fixture *fixture)
{
    struct dbk_os *os = dbk_sim_os(fixture->sim);
    struct dbk_error err = {0};
    size_t count = 0;
    int rc = os->list(os, "d/snapshots", count_name, &count, &err);
    assert_true(rc == DBK_OK || rc == DBK_ENOTFOUND);
    return count;
}

static void forget_all(struct fixture *fixture)
{
    struct dbk_error err = {0};
    uint64_t count = 0;
    assert_ok(dbk_folds_forget(fixture->folds, NULL, 0, &count, &err), &err);
}

static void test_fold_fold__drops_snapshots_and_a_changed_fold_takes_none(void **state)
{
    struct fixture *fixture = *state;
    char changed[sizeof(counter) + 1];
    fill(fixture);
    take_snapshots(fixture);
    assert_int_equal(count_snapshots(fixture), 4);
    (void)snprintf(changed, sizeof(changed), "%s\n", counter);
    dbk_folds_free(fixture->folds);
    fixture->folds = open_folds(fixture, "d/snapshots", false, changed);
    assert_int_equal(compare(fixture, &(struct dbk_fold_at){0}).snapshot_version, 0);
    dbk_folds_free(fixture->folds);
    fixture->folds = open_folds(fixture, "d/snapshots", false, counter);
    assert_int_equal(compare(fixture, &(struct dbk_fold_at){0}).snapshot_version, 40);
    forget_all(fixture);
    assert_int_equal(count_snapshots(fixture), 0);
    assert_int_equal(compare(fixture, &(struct dbk_fold_at){0}).snapshot_version, 0);
    assert_int_equal(count_snapshots(fixture), 0); /* this one only reads */
    forget_all(fixture);
}

static void test_fold_fold__forgets_some_streams_and_no_others(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_error err = {0};
    struct dbk_buf out;
    struct dbk_fold_result result;
    uint64_t count = 0;
    struct dbk_slice streams[] = {DBK_SLICE_LITERAL("c-2"), DBK_SLICE_LITERAL("c-1"),
                                  DBK_SLICE_LITERAL("c-9")};
    fill(fixture);
    take_snapshots(fixture);
    dbk_buf_init(&out, STATE_SIZE_MAX);
    for (char digit = '2'; digit <= '3'; digit++) {
        char name[] = {'c', '-', digit, 0};
        for (int i = 1; i <= 25; i++)
            append_to(fixture, name, "Added", "{\"n\":1}", DBK_TIME_NONE);
        assert_ok(dbk_fold_state(fixture->folds, dbk_slice_of(name), NULL, &out, &result, &err),
                  &err);
    }
    assert_int_equal(count_snapshots(fixture), 4 + 2 + 2);
    assert_ok(dbk_folds_forget(fixture->folds, streams, 3, &count, &err), &err);
    assert_int_equal(count, 4 + 2);
    assert_int_equal(count_snapshots(fixture), 2);
    assert_ok(dbk_folds_forget(fixture->folds, streams, 3, &count, &err), &err);
    assert_int_equal(count, 0);
    assert_int_equal(compare(fixture, &(struct dbk_fold_at){0}).snapshot_version, 0);
    assert_ok(dbk_fold_state(fixture->folds, DBK_SLICE_LITERAL("c-3"), NULL, &out, &result, &err),
              &err);
    assert_int_equal(result.snapshot_version, 20);
    dbk_buf_release(&out);
}

/* Snapshots of a stream with the same name, fold and version, copied from another book. */
static void test_fold_fold__another_books_snapshots_are_not_used(void **state)
{
    struct fixture *fixture = *state;
    struct fixture other = {.sim = fixture->sim};
    struct dbk_error err = {0};
    fill(fixture);
    take_snapshots(fixture);
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(other.sim),
                                                         .folder = "e",
                                                         .writer = true,
                                                         .holder = "a test"},
                             &other.store, &err),
              &err);
    other.folds = open_folds(&other, "d/snapshots", false, counter);
    other.plain = open_folds(&other, NULL, false, counter);
    for (int i = 1; i <= 30; i++)
        append(&other, "Added", "{\"n\":1000}", DBK_TIME_NONE);
    for (uint64_t version = 1; version <= 30; version++)
        assert_int_equal(
            compare(&other, &(struct dbk_fold_at){.version = version}).snapshot_version, 0);
    dbk_folds_free(other.folds);
    dbk_folds_free(other.plain);
    dbk_store_free(other.store);
}

static int collect_name(const char *name, void *context)
{
    char(*names)[120] = context;
    while (names[0][0] != 0)
        names++;
    (void)snprintf(names[0], sizeof(names[0]), "d/snapshots/%s", name);
    return DBK_OK;
}

/* Every byte of every snapshot turned over: it is passed over, and the answer is the same. */
static void test_fold_fold__a_damaged_snapshot_is_as_good_as_none(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_os *os = dbk_sim_os(fixture->sim);
    struct dbk_error err = {0};
    char names[6][120] = {{0}};
    fill(fixture);
    take_snapshots(fixture);
    dbk_folds_free(fixture->folds);
    fixture->folds = open_folds(fixture, "d/snapshots", false, counter);
    assert_ok(os->list(os, "d/snapshots", collect_name, names, &err), &err);
    for (size_t i = 0; i < 4; i++) {
        size_t size = dbk_sim_file(fixture->sim, names[i]).size;
        uint64_t version = strtoull(strrchr(names[i], '-') + 1, NULL, 10);
        assert_true(size > 104);
        for (size_t offset = 0; offset < size; offset++) {
            dbk_sim_flip(fixture->sim, names[i], offset, 0x41);
            struct dbk_fold_result result =
                compare(fixture, &(struct dbk_fold_at){.version = version + 1});
            assert_int_equal(result.snapshot_version, version - EVERY);
            dbk_sim_flip(fixture->sim, names[i], offset, 0x41);
        }
    }
}

/* A failing disk costs the snapshot, never the answer. */
static void test_fold_fold__snapshots_that_cannot_be_kept_are_done_without(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    for (uint64_t call = 1; call < 20; call++) {
        dbk_sim_fail_at(fixture->sim, call,
                        DBK_SIM_PWRITE | DBK_SIM_RENAME | DBK_SIM_MAKE_FOLDER | DBK_SIM_RANDOM,
                        DBK_EFULL, true);
        (void)compare(fixture, &(struct dbk_fold_at){.version = 45});
        dbk_sim_fail_at(fixture->sim, 0, 0, DBK_OK, false);
        (void)compare(fixture, &(struct dbk_fold_at){.version = 45});
        assert_int_equal(compare(fixture, &(struct dbk_fold_at){.version = 45}).snapshot_version,
                         40);
        assert_int_equal(count_snapshots(fixture), 4); /* nothing half-written lies about */
        forget_all(fixture);
    }
}

/* Whatever a crash leaves of snapshots, which are not synced, states are right behind it. */
static void test_fold_fold__a_crash_leaves_no_wrong_snapshot(void **state)
{
    struct fixture *fixture = *state;
    static const enum dbk_sim_keep keeps[] = {DBK_SIM_NONE, DBK_SIM_ALL, DBK_SIM_PREFIX,
                                              DBK_SIM_TORN, DBK_SIM_SUBSET};
    fill(fixture);
    take_snapshots(fixture);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct dbk_error err = {0};
        dbk_folds_free(fixture->folds);
        dbk_folds_free(fixture->plain);
        dbk_store_free(fixture->store);
        dbk_sim_restart(fixture->sim, keeps[seed % 5], keeps[seed / 5 % 5], seed);
        assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(fixture->sim),
                                                             .folder = "d",
                                                             .writer = true,
                                                             .holder = "a test"},
                                 &fixture->store, &err),
                  &err);
        fixture->folds = open_folds(fixture, "d/snapshots", true, counter);
        fixture->plain = open_folds(fixture, NULL, false, counter);
        for (uint64_t version = 5; version <= COUNT; version += 7)
            (void)compare(fixture, &(struct dbk_fold_at){.version = version});
        forget_all(fixture);
        take_snapshots(fixture);
    }
}

struct statement {
    struct fixture *fixture;
    uint64_t version;
    uint64_t stop_at;
};

static int check_line(const struct dbk_event *event, struct dbk_slice text, void *context)
{
    struct statement *statement = context;
    struct dbk_buf expected;
    struct dbk_fold_result result;
    struct dbk_error err = {0};
    dbk_buf_init(&expected, STATE_SIZE_MAX);
    statement->version++;
    assert_int_equal(event->version, statement->version);
    assert_ok(read_state(statement->fixture->plain,
                         &(struct dbk_fold_at){.version = event->version}, &expected, &result,
                         &err),
              &err);
    assert_true(dbk_slice_equal(text, dbk_buf_slice(&expected)));
    dbk_buf_release(&expected);
    return event->version == statement->stop_at ? DBK_ETIMEOUT : DBK_OK;
}

static void test_fold_fold__the_log_shows_the_state_after_each_event(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_error err = {0};
    const struct dbk_slice stream = DBK_SLICE_LITERAL("c-1");
    fill(fixture);
    for (int again = 0; again < 2; again++) {
        struct statement statement = {.fixture = fixture};
        assert_ok(dbk_fold_log(fixture->folds, stream, &(struct dbk_fold_range){0}, check_line,
                               &statement, &err),
                  &err);
        assert_int_equal(statement.version, COUNT);
        statement = (struct statement){.fixture = fixture, .version = 22};
        assert_ok(dbk_fold_log(fixture->folds, stream, &(struct dbk_fold_range){23, 31, false},
                               check_line, &statement, &err),
                  &err);
        assert_int_equal(statement.version, 31);
        statement = (struct statement){.fixture = fixture, .stop_at = 3};
        assert_int_equal(dbk_fold_log(fixture->folds, stream, &(struct dbk_fold_range){0},
                                      check_line, &statement, &err),
                         DBK_ETIMEOUT);
        take_snapshots(fixture);
    }
}

static void test_fold_fold__a_failure_names_event_and_line(void **state)
{
    static const char *const cases[][4] = {
        {"c-1", "Bad", "{}", "folds/c.lua: `Bad` must return the new state as a table, or nothing"},
        {"c-2", "Worse", "{}", "folds/c.lua:11: attempt to index"},
        {"c-3", "Added", "{\"n\":\"x\"}",
         "folds/c.lua:3: attempt to add a 'number' with a 'string'"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_buf text;
        struct dbk_fold_result result;
        struct dbk_error err = {0};
        char place[100];
        dbk_buf_init(&text, STATE_SIZE_MAX);
        append_to(fixture, cases[i][0], cases[i][1], cases[i][2], DBK_TIME_NONE);
        (void)snprintf(place, sizeof(place), "(%s of %s, version 1, position %zu)", cases[i][1],
                       cases[i][0], i + 1);
        assert_int_equal(
            dbk_fold_state(fixture->folds, dbk_slice_of(cases[i][0]), NULL, &text, &result, &err),
            DBK_ESCRIPT);
        if (strstr(err.message, cases[i][3]) == NULL || strstr(err.message, place) == NULL)
            fail_msg("%s", err.message);
        assert_int_equal(text.size, 0);
        dbk_buf_release(&text);
    }
}

static void expect_fault(struct fixture *fixture, const char *source, int code, const char *message)
{
    struct dbk_folds *folds = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_folds_open(NULL, dbk_sim_os(fixture->sim), NULL, false, &folds, &err), &err);
    int rc = dbk_folds_add(folds, DBK_SLICE_LITERAL("c"), "c.lua", dbk_slice_of(source), &err);
    if (rc != code || strstr(err.message, message) == NULL)
        fail_msg("%s gave %d \"%s\"", source, rc, err.message);
    assert_false(dbk_folds_has(folds, DBK_SLICE_LITERAL("c")));
    dbk_folds_free(folds);
}

static void test_fold_fold__checks_the_shape_of_a_fold(void **state)
{
    struct fixture *fixture = *state;
    expect_fault(fixture, "return {", DBK_EINVAL, "c.lua:1:");
    expect_fault(fixture, "return 1", DBK_EINVAL, "it must return a table");
    expect_fault(fixture, "return {}", DBK_EINVAL, "`on` must be a table of functions");
    expect_fault(fixture, "return { on = { A = 1 }, initial = {} }", DBK_EINVAL, "may only hold");
    expect_fault(fixture, "return { on = {} }", DBK_EINVAL, "`initial` must be a table");
    expect_fault(fixture, "return { on = {}, initial = { f = error } }", DBK_ESCRIPT,
                 "f: a function cannot be JSON");
    expect_fault(fixture, "return { on = {}, initial = {}, inital = 1 }", DBK_EINVAL,
                 "a fold has no `inital`; did you mean `initial`?");
    expect_fault(fixture, "return { on = {}, initial = {}, snapshot = 5 }", DBK_EINVAL,
                 "`snapshot` must be a table");
    expect_fault(fixture, "return { on = {}, initial = {}, snapshot = { every = 0 } }", DBK_EINVAL,
                 "`snapshot.every` must be a whole number above 0");
    expect_fault(fixture, "return { on = {}, initial = {}, snapshot = { evry = 9, every = 1 } }",
                 DBK_EINVAL, "`snapshot` has no `evry`; did you mean `every`?");
    expect_fault(fixture, "while true do end", DBK_ESCRIPT, "c.lua:1: it used up its instructions");
    assert_int_equal(dbk_folds_every(fixture->folds, DBK_SLICE_LITERAL("c")), EVERY);
    assert_int_equal(dbk_folds_every(fixture->plain, DBK_SLICE_LITERAL("c")), 0);
    assert_int_equal(dbk_folds_every(fixture->folds, DBK_SLICE_LITERAL("d")), 0);
}

static void test_fold_fold__a_fold_sees_the_whole_event(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_buf text;
    struct dbk_fold_result result;
    struct dbk_error err = {0};
    dbk_buf_init(&text, STATE_SIZE_MAX);
    dbk_folds_free(fixture->plain);
    fixture->plain = open_folds(
        fixture, NULL, false,
        "return { initial = {}, on = {\n"
        "Seen = function(state, data, event) return { event.stream, event.type, event.version,\n"
        "  event.position, event.occurred, event.meta.by, #event.id, #event.time, data } end,\n"
        "Kept = function(state, data, event) state.event = event end } }");
    append(fixture, "Seen", "[]", 90 * SECOND);
    assert_ok(read_state(fixture->plain, NULL, &text, &result, &err), &err);
    assert_slice_equal(dbk_buf_slice(&text),
                       "[\"c-1\",\"Seen\",1,1,\"1970-01-01T00:01:30Z\",\"me\",36,27,[]]");
    append_to(fixture, "c-2", "Kept", "{}", DBK_TIME_NONE);
    assert_int_equal(
        dbk_fold_state(fixture->plain, DBK_SLICE_LITERAL("c-2"), NULL, &text, &result, &err),
        DBK_ESCRIPT);
    assert_non_null(strstr(err.message, "event: a userdata cannot be JSON"));
    dbk_buf_release(&text);
}

struct reader {
    pthread_t thread;
    struct fixture *fixture;
    uint64_t seed;
    bool failed;
};

static void *read_many(void *context)
{
    struct reader *reader = context;
    struct dbk_buf texts[2];
    struct dbk_fold_result result;
    dbk_buf_init(&texts[0], STATE_SIZE_MAX);
    dbk_buf_init(&texts[1], STATE_SIZE_MAX);
    for (uint64_t i = 0; i < 60; i++) {
        struct dbk_fold_at at = {.version = (i * 13 + reader->seed * 7) % COUNT + 1};
        reader->failed = reader->failed ||
                         read_state(reader->fixture->folds, &at, &texts[0], &result, NULL) < 0 ||
                         read_state(reader->fixture->plain, &at, &texts[1], &result, NULL) < 0 ||
                         !dbk_slice_equal(dbk_buf_slice(&texts[0]), dbk_buf_slice(&texts[1]));
    }
    dbk_buf_release(&texts[0]);
    dbk_buf_release(&texts[1]);
    return NULL;
}

static void test_fold_fold__many_threads_read_at_once(void **state)
{
    struct reader readers[12];
    fill(*state);
    for (uint64_t i = 0; i < 12; i++) {
        readers[i] = (struct reader){.fixture = *state, .seed = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_many, &readers[i]), 0);
    }
    for (size_t i = 0; i < 12; i++) {
        (void)pthread_join(readers[i].thread, NULL);
        assert_false(readers[i].failed);
    }
}

/* ---- Every n-th allocation fails ---- */

static uint64_t allocations_left;

static void *failing_allocate(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return malloc(size);
}

static void *failing_reallocate(void *memory, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return realloc(memory, size);
}

/* From opening the folds to a state: out of memory is said, and the next try is right. */
static void test_fold_fold__survives_every_failing_allocation(void **state)
{
    static const struct dbk_allocator failing = {failing_allocate, failing_reallocate, free};
    static const struct dbk_allocator plain = {malloc, realloc, free};
    struct fixture *fixture = *state;
    int rc = DBK_ENOMEM;
    fill(fixture);
    for (uint64_t n = 0; rc != DBK_OK; n++) {
        struct dbk_folds *folds = NULL;
        struct dbk_buf text;
        struct dbk_fold_result result;
        struct dbk_error err = {0};
        dbk_buf_init(&text, STATE_SIZE_MAX);
        allocations_left = n;
        dbk_set_allocator(&failing);
        rc = dbk_folds_open(fixture->store, dbk_sim_os(fixture->sim), "d/snapshots", true, &folds,
                            &err);
        if (rc == DBK_OK)
            rc = dbk_folds_add(folds, DBK_SLICE_LITERAL("c"), "c.lua", dbk_slice_of(counter), &err);
        if (rc == DBK_OK)
            rc = read_state(folds, NULL, &text, &result, &err);
        dbk_set_allocator(&plain);
        if (rc != DBK_OK && rc != DBK_ENOMEM)
            fail_msg("allocation %" PRIu64 ": %d %s", n, rc, err.message);
        dbk_folds_free(folds);
        dbk_buf_release(&text);
        if (n % 50 == 0 || rc == DBK_OK)
            (void)compare(fixture, &(struct dbk_fold_at){0});
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_fold_fold__##name, set_up, tear_down)

/* ---- Functions instead of a script ---- */

/* The same fold in both. */
static const char sums[] =
    "return { initial = { count = 0, sum = 0 }, snapshot = { every = 10 }, on = {\n"
    "  Added = function(state, data)\n"
    "    state.count = state.count + 1\n"
    "    state.sum = state.sum + data.n\n"
    "  end,\n"
    "} }";

struct sum {
    int64_t count;
    int64_t sum;
};

static const char *failing;          /* the function that fails; NULL: none */
static struct dbk_folds *forgetting; /* forgets at version 5; NULL: none does */

static int fail_at(const char *name, struct dbk_error *err)
{
    return failing != NULL && strcmp(failing, name) == 0
               ? dbk_error_set(err, DBK_ESCRIPT, "%s failed", name)
               : DBK_OK;
}

static void destroy_sum(void *context, void *state)
{
    (void)context;
    dbk_free(state);
}

static int create_sum(void *context, void **state_out, struct dbk_error *err)
{
    (void)context;
    int rc = fail_at("create", err);
    if (rc < 0)
        return rc;
    *state_out = dbk_alloc_zero(1, sizeof(struct sum));
    return *state_out == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory") : DBK_OK;
}

static int reset_sum(void *context, void *state, struct dbk_error *err)
{
    (void)context;
    *(struct sum *)state = (struct sum){0};
    return fail_at("reset", err);
}

static int apply_sum(void *context, void *state, const struct dbk_event *event,
                     struct dbk_error *err)
{
    struct sum *sum = state;
    (void)context;
    if (!dbk_slice_equal_text(event->type, "Added"))
        return DBK_OK;
    if (forgetting != NULL && event->version == 5) {
        uint64_t count = 0;
        int rc = dbk_folds_forget(forgetting, NULL, 0, &count, err);
        if (rc < 0)
            return rc;
    }
    sum->count++;
    sum->sum += strtoll(event->data.data + 5, NULL, 10);
    return event->version == 17 ? fail_at("apply", err) : DBK_OK;
}

static int write_sum(void *context, void *state, struct dbk_buf *out, struct dbk_error *err)
{
    const struct sum *sum = state;
    (void)context;
    dbk_buf_append_format(out, "{\"count\":%jd,\"sum\":%jd}", (intmax_t)sum->count,
                          (intmax_t)sum->sum);
    return fail_at("write", err);
}

static int read_sum(void *context, void *state, struct dbk_slice text, struct dbk_error *err)
{
    struct sum *sum = state;
    char copy[100];
    char *end = NULL;
    (void)context;
    (void)snprintf(copy, sizeof(copy), "%.*s", DBK_SLICE_ARGS(text));
    sum->count = strtoll(copy + strlen("{\"count\":"), &end, 10);
    sum->sum = strtoll(end + strlen(",\"sum\":"), NULL, 10);
    return fail_at("read", err);
}

static void use_functions(struct fixture *fixture, const char *version)
{
    static const struct dbk_fold_functions functions = {
        NULL, create_sum, destroy_sum, reset_sum, apply_sum, NULL, write_sum, read_sum};
    struct dbk_error err = {0};
    struct dbk_slice category = DBK_SLICE_LITERAL("c");
    dbk_folds_free(fixture->folds);
    assert_ok(dbk_folds_open(fixture->store, dbk_sim_os(fixture->sim), "d/snapshots", true,
                             &fixture->folds, &err),
              &err);
    assert_ok(dbk_folds_add_functions(fixture->folds, category, dbk_slice_of(version), EVERY,
                                      &functions, &err),
              &err);
    assert_int_equal(dbk_folds_add_functions(fixture->folds, category, DBK_SLICE_LITERAL("2"), 0,
                                             &functions, &err),
                     DBK_EEXISTS);
}

static void test_fold_fold__what_is_being_folded_when_it_forgets_is_not_kept(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    dbk_folds_free(fixture->plain);
    fixture->plain = open_folds(fixture, NULL, false, sums);
    use_functions(fixture, "1");
    forgetting = fixture->folds;
    (void)compare(fixture, &(struct dbk_fold_at){0});
    assert_int_equal(count_snapshots(fixture), 0);
    forgetting = NULL;
    (void)compare(fixture, &(struct dbk_fold_at){0});
    assert_int_equal(count_snapshots(fixture), 4);
}

static void test_fold_fold__functions_do_what_a_script_does(void **state)
{
    struct fixture *fixture = *state;
    fill(fixture);
    dbk_folds_free(fixture->plain);
    fixture->plain = open_folds(fixture, NULL, false, sums);
    use_functions(fixture, "1");
    for (int round = 0; round < 2; round++) {
        for (uint64_t version = COUNT; version >= 1; version--) {
            struct dbk_fold_result result =
                compare(fixture, &(struct dbk_fold_at){.version = version});
            compare(fixture, &(struct dbk_fold_at){.time_us = result.time_us});
            compare(fixture, &(struct dbk_fold_at){.occurred_us = result.time_us});
            if (round == 1)
                assert_int_equal(result.snapshot_version, version / EVERY * EVERY);
        }
    }
    use_functions(fixture, "2"); /* older snapshots are another fold's */
    assert_int_equal(compare(fixture, &(struct dbk_fold_at){0}).snapshot_version, 0);
    assert_int_equal(compare(fixture, &(struct dbk_fold_at){0}).snapshot_version, 40);
}

static void test_fold_fold__a_failing_function_fails_the_state(void **state)
{
    static const char *const names[] = {"create", "reset", "apply", "write", "read"};
    struct fixture *fixture = *state;
    struct dbk_buf text;
    fill(fixture);
    dbk_buf_init(&text, STATE_SIZE_MAX);
    dbk_folds_free(fixture->plain);
    fixture->plain = open_folds(fixture, NULL, false, sums);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct dbk_error err = {0};
        struct dbk_fold_result result;
        char expected[40];
        char version[2] = {(char)('a' + i), 0};
        use_functions(fixture, version);
        failing = names[i];
        (void)snprintf(expected, sizeof(expected), "%s failed", names[i]);
        assert_int_equal(read_state(fixture->folds, NULL, &text, &result, &err), DBK_ESCRIPT);
        assert_non_null(strstr(err.message, expected));
        if (strcmp(names[i], "apply") == 0)
            assert_non_null(strstr(err.message, "Added of c-1, version 17, position 17"));
        failing = NULL;
        compare(fixture, &(struct dbk_fold_at){0});
    }
    dbk_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_snapshot_changes_nothing_but_the_way),
        TEST(reads_keep_what_they_pass),
        TEST(by_time_is_the_version_of_that_time),
        TEST(by_occurred_takes_what_had_occurred),
        TEST(a_stream_without_events_has_the_initial_state),
        TEST(drops_snapshots_and_a_changed_fold_takes_none),
        TEST(forgets_some_streams_and_no_others),
        TEST(what_is_being_folded_when_it_forgets_is_not_kept),
        TEST(another_books_snapshots_are_not_used),
        TEST(a_damaged_snapshot_is_as_good_as_none),
        TEST(snapshots_that_cannot_be_kept_are_done_without),
        TEST(a_crash_leaves_no_wrong_snapshot),
        TEST(the_log_shows_the_state_after_each_event),
        TEST(a_failure_names_event_and_line),
        TEST(checks_the_shape_of_a_fold),
        TEST(a_fold_sees_the_whole_event),
        TEST(many_threads_read_at_once),
        TEST(survives_every_failing_allocation),
        TEST(functions_do_what_a_script_does),
        TEST(a_failing_function_fails_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
