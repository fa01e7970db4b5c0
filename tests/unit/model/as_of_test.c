/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_of_test -- a model as of a time holds the events of that time, and no other.
 *
 * `ledger` puts each event it sees into a row with its position, so that the rows name the events
 * they came from; what they should be is told by the list the events were appended from.
 */
#include "test.h"

#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

#include "model/as_of.h"
#include "model/as_of_file.h"

#define EVENTS 60
/* More than two batches. */
#define MANY 4100
#define SEGMENT_SIZE 16384

static struct dbk_os *os;
static struct dbk_store *store;
static struct dbk_models *models;
static char folder[64];
static char data[96];
static char live[96];
static char files[96];
static int64_t times[MANY + 1]; /* by position */
static int64_t occurred[MANY + 1];
static unsigned last;

static const struct dbk_slice category = {.data = "order", .size = 5};

static void add(const char *sql)
{
    struct dbk_error err = {0};
    struct dbk_handler handler = {.file = "models/ledger/handlers.sql",
                                  .line = 1,
                                  .type = DBK_SLICE_LITERAL("Placed"),
                                  .sql = dbk_slice_of(sql)};
    struct dbk_model_definition definition = {
        .name = "ledger",
        .database = "reading",
        .database_path = live,
        .sync = DBK_SYNC_EVENTS,
        .categories = &category,
        .category_count = 1,
        .schema_file = "models/ledger/schema.sql",
        .schema = DBK_SLICE_LITERAL("CREATE TABLE ledger (position INTEGER PRIMARY KEY)"),
        .handlers = &handler,
        .handler_count = 1};
    assert_ok(dbk_models_open(store, &models, &err), &err);
    assert_ok(dbk_models_add(models, &definition, false, &err), &err);
}

static int set_up(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    os = dbk_os_real();
    (void)snprintf(folder, sizeof(folder), "/tmp/daybook-as-of-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(data, sizeof(data), "%s/data", folder);
    (void)snprintf(live, sizeof(live), "%s/reading.db", folder);
    (void)snprintf(files, sizeof(files), "%s/as-of", folder);
    assert_ok(dbk_store_open(
                  &(struct dbk_store_options){
                      .os = os, .folder = data, .writer = true, .segment_size = SEGMENT_SIZE},
                  &store, &err),
              &err);
    last = 0;
    add("INSERT INTO ledger VALUES (:_position)");
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
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Appends events whose occurrences go up and down around the epoch, each with a time of its own. */
static void append(unsigned count, size_t batch)
{
    static const struct dbk_new_event event = {.stream = {.data = "order-1", .size = 7},
                                               .type = {.data = "Placed", .size = 6},
                                               .data = {.data = "{}", .size = 2},
                                               .flags = DBK_RECORD_JSON};
    struct dbk_error err = {0};
    struct dbk_append_result result;
    struct dbk_new_event *events = test_calloc(batch, sizeof(*events));
    for (unsigned done = 0; done < count; done += (unsigned)batch) {
        for (size_t i = 0; i < batch; i++) {
            events[i] = event;
            events[i].occurred_us =
                (last + i) % 5 == 4 ? DBK_TIME_NONE : (int64_t)((last + i) * 7 % 11) * 10 - 50;
        }
        assert_ok(dbk_store_append(store, &(struct dbk_batch){.events = events, .count = batch},
                                   &result, &err),
                  &err);
        last += (unsigned)batch;
        (void)usleep(batch == 1 ? 20 : 0);
    }
    test_free(events);
}

static void read_times(void)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    while (dbk_cursor_next(cursor, &event, &err) == 1) {
        times[event.position] = event.time_us;
        occurred[event.position] =
            event.occurred_us == DBK_TIME_NONE ? event.time_us : event.occurred_us;
    }
    dbk_cursor_free(cursor);
}

static bool stop_at_once(void *context, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    (*(unsigned *)context)++;
    return false;
}

static int build(bool by_occurrence, int64_t time_us, struct dbk_as_of *as_of,
                 struct dbk_error *err)
{
    return dbk_models_as_of(
        models,
        &(struct dbk_as_of_options){.os = os,
                                    .folder = files,
                                    .model = "ledger",
                                    .time = {.occurred = by_occurrence, .time_us = time_us}},
        as_of, err);
}

/* The rows of a file must be the events that belong, each once. */
static void check_rows(const char *path, bool by_occurrence, int64_t time_us)
{
    struct dbk_connection *connection = NULL;
    struct dbk_statement *statement = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_connection_open(path, DBK_CONNECT_READ, &connection, &err), &err);
    assert_ok(dbk_statement_open(connection, DBK_SLICE_LITERAL("SELECT * FROM ledger ORDER BY 1"),
                                 &statement, NULL, &err),
              &err);
    for (unsigned position = 1; position <= last; position++) {
        if ((by_occurrence ? occurred[position] : times[position]) > time_us)
            continue;
        assert_int_equal(dbk_statement_step(statement, &err), 1);
        assert_int_equal(dbk_statement_column(statement, 0).integer, position);
    }
    assert_int_equal(dbk_statement_step(statement, &err), 0);
    dbk_statement_free(statement);
    dbk_connection_free(connection);
}

static void test_model_as_of__each_time_of_recording_has_its_events(void **state)
{
    (void)state;
    append(EVENTS, 1);
    read_times();
    for (unsigned position = 0; position <= last; position++) {
        struct dbk_as_of as_of = {0};
        struct dbk_error err = {0};
        int64_t time_us = position == 0 ? times[1] - 1 : times[position];
        uint64_t end = position;
        while (end < last && times[end + 1] <= time_us)
            end++;
        assert_ok(build(false, time_us, &as_of, &err), &err);
        assert_int_equal(as_of.position, end);
        assert_int_equal(as_of.position_time_us, end == 0 ? DBK_TIME_NONE : times[end]);
        check_rows(as_of.file, false, time_us);
    }
}

static void test_model_as_of__each_occurrence_has_its_events(void **state)
{
    (void)state;
    append(EVENTS, 1);
    read_times();
    for (int64_t time_us = -61; time_us <= 61; time_us++) {
        struct dbk_as_of as_of = {0};
        struct dbk_error err = {0};
        assert_ok(build(true, time_us, &as_of, &err), &err);
        assert_int_equal(as_of.position, last);
        check_rows(as_of.file, true, time_us);
    }
}

static void test_model_as_of__what_occurred_before_and_came_later_is_added(void **state)
{
    (void)state;
    for (int times_more = 0; times_more < 5; times_more++) {
        struct dbk_as_of as_of = {0};
        struct dbk_error err = {0};
        uint64_t before = last;
        append(EVENTS / 5, 1);
        read_times();
        assert_ok(build(true, 0, &as_of, &err), &err);
        assert_false(as_of.found);
        assert_int_equal(as_of.begun, before);
        check_rows(as_of.file, true, 0);
        assert_ok(build(true, 0, &as_of, &err), &err);
        assert_true(as_of.found);
    }
}

static void test_model_as_of__an_ended_build_is_gone_on_with(void **state)
{
    (void)state;
    append(MANY, 100);
    read_times();
    unsigned calls = 0;
    struct dbk_as_of as_of = {0};
    int rc = DBK_ESTOPPED;
    unsigned rounds = 0;
    for (; rc == DBK_ESTOPPED && rounds < 1000; rounds++) {
        struct dbk_error err = {0};
        rc = dbk_models_as_of(models,
                              &(struct dbk_as_of_options){.os = os,
                                                          .folder = files,
                                                          .model = "ledger",
                                                          .time = {.time_us = times[last]},
                                                          .progress = stop_at_once,
                                                          .context = &calls},
                              &as_of, &err);
        if (rc < 0)
            assert_non_null(strstr(err.message, "the next one goes on there"));
    }
    assert_int_equal(rc, DBK_OK);
    assert_true(rounds > 2);
    assert_int_equal(calls, rounds - 1); /* the last found it whole, and asked no more */
    assert_int_equal(as_of.position, last);
    check_rows(as_of.file, false, times[last]);
}

static int count_files(const struct dbk_as_of_file *file, void *context)
{
    assert_string_equal(file->model, "ledger");
    assert_int_equal(file->position, file->target);
    ++*(uint64_t *)context;
    return DBK_OK;
}

static uint64_t count_all(void)
{
    uint64_t count = 0;
    struct dbk_error err = {0};
    assert_ok(dbk_models_as_of_list(models, os, files, count_files, &count, &err), &err);
    return count;
}

static void test_model_as_of__all_files_are_listed_and_removed(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_as_of as_of = {0};
    uint64_t removed = 7;
    struct dbk_as_of_removal removal = {.os = os, .folder = files};
    assert_int_equal(count_all(), 0);
    assert_ok(dbk_models_as_of_remove(models, &removal, &removed, &err), &err);
    assert_int_equal(removed, 0);
    append(EVENTS, 1);
    for (int64_t time_us = 0; time_us < 70; time_us++) /* more than are removed at once */
        assert_ok(build(true, time_us, &as_of, &err), &err);
    assert_int_equal(count_all(), 70);
    removal.time = &(struct dbk_as_of_time){.occurred = true, .time_us = 9};
    removal.model = "ledger";
    assert_ok(dbk_models_as_of_remove(models, &removal, &removed, &err), &err);
    assert_int_equal(removed, 1);
    assert_int_equal(count_all(), 69);
    removal.time = NULL;
    assert_ok(dbk_models_as_of_remove(models, &removal, &removed, &err), &err);
    assert_int_equal(removed, 69);
    assert_int_equal(count_all(), 0);
}

static void test_model_as_of__one_build_at_a_time(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_as_of as_of = {0};
    struct dbk_file lock = DBK_FILE_CLOSED;
    uint64_t removed = 0;
    unsigned calls = 0;
    struct dbk_as_of_options options = {
        .os = os, .folder = files, .model = "ledger", .progress = stop_at_once, .context = &calls};
    append(EVENTS, 1);
    assert_ok(build(true, 0, &as_of, &err), &err);
    assert_ok(dbk_as_of_lock(os, files, &lock, &err), &err);
    assert_int_equal(dbk_models_as_of(models, &options, &as_of, &err), DBK_ESTOPPED);
    assert_int_equal(calls, 1);
    assert_int_equal(dbk_models_as_of_remove(models,
                                             &(struct dbk_as_of_removal){.os = os, .folder = files},
                                             &removed, &err),
                     DBK_EBUSY);
    options.time.occurred = true; /* what is whole is found all the same */
    assert_ok(dbk_models_as_of(models, &options, &as_of, &err), &err);
    os->close(os, &lock);
    options.time.occurred = false;
    assert_ok(dbk_models_as_of(models, &options, &as_of, &err), &err);
}

static void test_model_as_of__another_definition_is_another_file(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_as_of first = {0};
    struct dbk_as_of second = {0};
    append(EVENTS, 1);
    read_times();
    assert_ok(build(false, times[20], &first, &err), &err);
    dbk_models_free(models);
    add("INSERT INTO ledger VALUES (:_position + 0)");
    assert_ok(build(false, times[20], &second, &err), &err);
    assert_string_not_equal(first.file, second.file);
    check_rows(second.file, false, times[20]);
    struct dbk_as_of_options options = {.os = os,
                                        .folder = files,
                                        .file = first.file,
                                        .model = "ledger",
                                        .time = {.time_us = times[20]}};
    assert_int_equal(dbk_models_as_of(models, &options, &second, &err), DBK_EEXISTS);
    check_rows(first.file, false, times[20]);
}

/* What a compaction took is in no row; which position a time is of, and when that was recorded, is
   known all the same. */
static void test_model_as_of__a_removed_event_keeps_its_place_and_time(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_append_result result;
    struct dbk_store_compacted compacted = {0};
    append(600, 10);
    read_times();
    assert_ok(dbk_store_set_rules(store, DBK_SLICE_LITERAL("order-1"),
                                  &(struct dbk_stream_rules){.truncate_before = 600}, &result,
                                  &err),
              &err);
    assert_ok(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err), &err);
    assert_true(compacted.removed > 100);
    for (unsigned position = 10; position <= 60; position += 10) {
        struct dbk_as_of as_of = {0};
        assert_ok(build(false, times[position], &as_of, &err), &err);
        assert_int_equal(as_of.position, position);
        assert_int_equal(as_of.position_time_us, times[position]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_model_as_of__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_time_of_recording_has_its_events),
        TEST(each_occurrence_has_its_events),
        TEST(what_occurred_before_and_came_later_is_added),
        TEST(an_ended_build_is_gone_on_with),
        TEST(all_files_are_listed_and_removed),
        TEST(one_build_at_a_time),
        TEST(another_definition_is_another_file),
        TEST(a_removed_event_keeps_its_place_and_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
