/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy_test -- a copied book is what the script says, whenever and however often the copying ended.
 *
 * The old book has some thousand events of a seed; what each becomes is computed here a second
 * time, in C. Copying is ended after every batch, crashed at every call that changes the disk, and
 * fails at every call; each time it goes on, to the same book.
 */
#include "test.h"

#include <stdlib.h>

#include "migrate/migrate.h"
#include "migrate/record.h"
#include "os/sim.h"

#define EVENTS_MAX 12000

/* It remembers how many Counted it has seen in this block of positions. */
static const char script[] = "local seen = 0\n"
                             "return {\n"
                             "    version = 1,\n"
                             "    drop_types = { 'Dropped' },\n"
                             "    rename_types = { Renamed = 'Other' },\n"
                             "    rename_categories = { b = 'bee' },\n"
                             "    retag = { Tagged = { 'n:{n}', 'none:{missing}' } },\n"
                             "    events = {\n"
                             "        Split = function(event)\n"
                             "            local made = {}\n"
                             "            for i = 1, event.data.n % 4 do made[i] = { data = { n = "
                             "event.data.n, i = i } } end\n"
                             "            if #made == 0 then return false end\n"
                             "            return made\n"
                             "        end,\n"
                             "        Counted = function(event)\n"
                             "            seen = seen + 1\n"
                             "            event.data.seen = seen\n"
                             "        end,\n"
                             "        Merged = function(event) return { stream = 'all' } end,\n"
                             "        Kept = function(event) return event end,\n"
                             "    },\n"
                             "}\n";

static const char *const types[] = {"Dropped", "Renamed", "Tagged", "Split",
                                    "Counted", "Merged",  "Kept",   "Plain"};

/* What the new book has to hold, and where each old position is in it. */
struct expected {
    struct dbk_uuid id;
    char stream[32];
    char type[16];
    char data[64];
    char tag[16];
    int64_t time_us;
};
static struct expected expected[EVENTS_MAX];
static size_t expected_count;
static uint64_t first_of[EVENTS_MAX]; /* index into `expected` + 1 */
static uint64_t count_of[EVENTS_MAX];

static struct dbk_store *open_store(struct dbk_sim *sim, const char *folder, bool writer,
                                    struct dbk_error *err)
{
    struct dbk_store *store = NULL;
    return dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(sim),
                                                      .folder = folder,
                                                      .writer = writer,
                                                      .segment_size = 6000,
                                                      .chunk_events = 256},
                          &store, err) < 0
               ? NULL
               : store;
}

static void expect(const struct expected *first, size_t count)
{
    for (size_t i = 0; i < count; i++)
        expected[expected_count++] = first[i];
}

/* The n-th event of the old book, and what it becomes. */
static void append_one(struct dbk_store *store, uint64_t number, uint64_t *position, uint64_t *seen,
                       uint64_t *block)
{
    struct dbk_error err = {0};
    struct dbk_append_result result;
    unsigned chance = (unsigned)(number * 2654435761u >> 7);
    const char *type = types[chance % 8];
    char stream[16];
    char data[32];
    (void)snprintf(stream, sizeof(stream), "%c-%u", "abc"[chance / 8 % 3], chance / 24 % 5);
    (void)snprintf(data, sizeof(data), "{\"n\":%u}", chance % 97);
    struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                  .type = dbk_slice_of(type),
                                  .data = dbk_slice_of(data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    memcpy(event.id.bytes, &number, sizeof(number));
    event.id.bytes[15] = 1;
    if (number % 37 == 0) { /* the book's own are not copied */
        event.stream = DBK_SLICE_LITERAL("$own");
        type = "Dropped";
    }
    assert_ok(dbk_store_append(
                  store, &(struct dbk_batch){.events = &event, .count = 1, .flags = DBK_APPEND_OWN},
                  &result, &err),
              &err);
    uint64_t at = ++*position;
    struct expected made[4];
    size_t count = 1;
    for (size_t i = 0; i < 4; i++) {
        made[i] = (struct expected){.id = event.id, .time_us = dbk_store_last_time_us(store)};
        (void)snprintf(made[i].stream, sizeof(made[i].stream), "%s%s",
                       stream[0] == 'b' ? "bee" : "", stream[0] == 'b' ? stream + 1 : stream);
        (void)snprintf(made[i].type, sizeof(made[i].type), "%s",
                       strcmp(type, "Renamed") == 0 ? "Other" : type);
        (void)snprintf(made[i].data, sizeof(made[i].data), "%s", data);
    }
    if ((at - 1) / DBK_MIGRATE_BLOCK != *block) {
        *block = (at - 1) / DBK_MIGRATE_BLOCK;
        *seen = 0;
    }
    if (strcmp(type, "Dropped") == 0)
        count = 0;
    if (strcmp(type, "Tagged") == 0)
        (void)snprintf(made[0].tag, sizeof(made[0].tag), "n:%u", chance % 97);
    if (strcmp(type, "Merged") == 0)
        (void)snprintf(made[0].stream, sizeof(made[0].stream), "all");
    if (strcmp(type, "Counted") == 0)
        (void)snprintf(made[0].data, sizeof(made[0].data), "{\"n\":%u,\"seen\":%ju}", chance % 97,
                       (uintmax_t)++ * seen);
    if (strcmp(type, "Split") == 0)
        count = chance % 97 % 4;
    for (size_t i = 0; strcmp(type, "Split") == 0 && i < count; i++) {
        (void)snprintf(made[i].data, sizeof(made[i].data), "{\"i\":%zu,\"n\":%u}", i + 1,
                       chance % 97);
        if (i > 0)
            made[i].id = (struct dbk_uuid){{0}}; /* derived: only that it is the same each time */
    }
    first_of[at] = expected_count + 1;
    count_of[at] = count;
    expect(made, count);
}

static uint64_t fill(struct dbk_sim *sim, uint64_t count)
{
    struct dbk_error err = {0};
    uint64_t position = 0;
    uint64_t seen = 0;
    uint64_t block = 0;
    struct dbk_store *store = open_store(sim, "old", true, &err);
    assert_non_null(store);
    expected_count = 0;
    for (uint64_t i = 0; i < count; i++)
        append_one(store, i + 1, &position, &seen, &block);
    dbk_store_free(store);
    return position;
}

static int append(void *context, const struct dbk_batch *batch,
                  struct dbk_append_result *result_out, struct dbk_error *err)
{
    return dbk_store_append(context, batch, result_out, err);
}

struct run {
    size_t batch_max;
    uint64_t batches_left; /* ends in front of the next one; 0: never */
    struct dbk_store *target;
};

static int append_some(void *context, const struct dbk_batch *batch,
                       struct dbk_append_result *result_out, struct dbk_error *err)
{
    struct run *run = context;
    if (run->batches_left > 0 && --run->batches_left == 0)
        return DBK_ESTOPPED;
    return append(run->target, batch, result_out, err);
}

static int migrate(struct dbk_sim *sim, struct run *run, const char *source, struct dbk_error *err)
{
    struct dbk_migration *migration = NULL;
    struct dbk_store *old = open_store(sim, "old", false, err);
    run->target = old == NULL ? NULL : open_store(sim, "new", true, err);
    int rc = run->target == NULL ? err->code : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_migration_open(&(struct dbk_migration_options){.source = old,
                                                                .source_folder = "old",
                                                                .target = run->target,
                                                                .os = dbk_sim_os(sim),
                                                                .script_name = "m.lua",
                                                                .script = dbk_slice_of(source),
                                                                .batch_count_max = run->batch_max,
                                                                .append = append_some,
                                                                .context = run},
                                &migration, err);
    if (rc == DBK_OK)
        rc = dbk_migration_copy(migration, err);
    dbk_migration_free(migration);
    dbk_store_free(run->target);
    dbk_store_free(old);
    return rc;
}

static void check_event(const struct dbk_event *event, const struct expected *want)
{
    struct dbk_slice tags = event->tags;
    struct dbk_slice tag = {0};
    assert_slice_equal(event->stream, want->stream);
    assert_slice_equal(event->type, want->type);
    assert_slice_equal(event->data, want->data);
    assert_int_equal(event->time_us, want->time_us);
    assert_true(dbk_uuid_is_none(&want->id) || dbk_uuid_equal(&event->id, &want->id));
    (void)dbk_event_next_tag(&tags, &tag);
    assert_slice_equal(tag, want->tag);
}

/* The new book holds what was expected, in order; ids_out: a checksum of all ids. */
static void check(struct dbk_sim *sim, uint64_t old_last, uint32_t *ids_out)
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    static uint64_t position_of[EVENTS_MAX + 1];
    size_t count = 0;
    int rc = 0;
    struct dbk_store *store = open_store(sim, "new", false, &err);
    assert_non_null(store);
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    *ids_out = 0;
    while ((rc = dbk_cursor_next(cursor, &event, &err)) == 1) {
        assert_true(count < expected_count);
        check_event(&event, &expected[count]);
        position_of[++count] = event.position;
        *ids_out = dbk_crc32c(*ids_out, dbk_slice(event.id.bytes, DBK_UUID_SIZE));
    }
    assert_ok(rc, &err);
    assert_int_equal(count, expected_count);
    dbk_cursor_free(cursor);
    for (uint64_t old = 1; old <= old_last; old += old % 3 + (old_last > 100 ? 41 : 1)) {
        struct dbk_migrate_place place;
        assert_ok(dbk_migrate_place(store, old, &place, &err), &err);
        assert_int_equal(place.count, count_of[old]);
        assert_int_equal(place.first, count_of[old] == 0 ? 0 : position_of[first_of[old]]);
        /* Everything up to it is there, and nothing that came of what is behind it. */
        size_t made = first_of[old] - 1 + count_of[old];
        assert_true(made == 0 || place.up_to >= position_of[made]);
        assert_true(made == expected_count || place.up_to < position_of[made + 1]);
    }
    struct dbk_migrate_place place;
    assert_int_equal(dbk_migrate_place(store, old_last + 1, &place, &err), DBK_ENOTFOUND);
    dbk_store_free(store);
}

static void test_migrate_copy__is_what_the_script_says(void **state)
{
    static const size_t batches[] = {5, 7, 64, 10000};
    uint32_t first_ids = 0;
    (void)state;
    struct dbk_sim *old = dbk_sim_create(1);
    uint64_t last = fill(old, 5000);
    for (size_t i = 0; i < 4; i++) {
        struct dbk_sim *sim = dbk_sim_clone(old, i);
        struct dbk_error err = {0};
        uint32_t ids = 0;
        assert_ok(migrate(sim, &(struct run){.batch_max = batches[i]}, script, &err), &err);
        check(sim, last, &ids);
        first_ids = i == 0 ? ids : first_ids;
        assert_int_equal(ids, first_ids);
        /* There is nothing left to do. */
        assert_ok(migrate(sim, &(struct run){.batch_max = 10000}, script, &err), &err);
        check(sim, last, &ids);
        dbk_sim_free(sim);
    }
    dbk_sim_free(old);
}

static void test_migrate_copy__goes_on_wherever_it_ended(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    uint32_t whole = 0;
    uint32_t ids = 0;
    struct dbk_sim *old = dbk_sim_create(1);
    uint64_t last = fill(old, 4500);
    struct dbk_sim *sim = dbk_sim_clone(old, 1);
    assert_ok(migrate(sim, &(struct run){.batch_max = 10000}, script, &err), &err);
    check(sim, last, &whole);
    dbk_sim_free(sim);
    sim = dbk_sim_clone(old, 2);
    int rc = DBK_ESTOPPED;
    for (unsigned run = 0; rc == DBK_ESTOPPED; run++)
        rc = migrate(sim, &(struct run){.batch_max = 40 + run, .batches_left = 2 + run % 3}, script,
                     &err);
    assert_ok(rc, &err);
    check(sim, last, &ids);
    assert_int_equal(ids, whole);
    dbk_sim_free(sim);
    dbk_sim_free(old);
}

static void test_migrate_copy__survives_a_crash_at_every_call(void **state)
{
    static const enum dbk_sim_keep keeps[] = {DBK_SIM_NONE, DBK_SIM_ALL, DBK_SIM_TORN};
    (void)state;
    struct dbk_error err = {0};
    struct dbk_sim *old = dbk_sim_create(3);
    uint64_t last = fill(old, 40);
    struct dbk_sim *sim = dbk_sim_clone(old, 1);
    assert_ok(migrate(sim, &(struct run){.batch_max = 12}, script, &err), &err);
    uint64_t calls = dbk_sim_calls(sim, DBK_SIM_CHANGES);
    uint32_t whole = 0;
    check(sim, last, &whole);
    dbk_sim_free(sim);
    assert_true(calls > 20);
    for (uint64_t at = 1; at <= calls; at++) {
        enum dbk_sim_keep keep = keeps[at % 3];
        uint32_t ids = 0;
        sim = dbk_sim_clone(old, 100 + at);
        dbk_sim_crash_at(sim, at, DBK_SIM_CHANGES);
        dbk_ignore(migrate(sim, &(struct run){.batch_max = 12}, script, &err));
        dbk_sim_restart(sim, keep, keep, at);
        assert_ok(migrate(sim, &(struct run){.batch_max = 12}, script, &err), &err);
        check(sim, last, &ids);
        assert_int_equal(ids, whole);
        dbk_sim_free(sim);
    }
    dbk_sim_free(old);
}

static void test_migrate_copy__survives_each_failing_call(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_sim *old = dbk_sim_create(3);
    uint64_t last = fill(old, 40);
    struct dbk_sim *sim = dbk_sim_clone(old, 1);
    assert_ok(migrate(sim, &(struct run){.batch_max = 12}, script, &err), &err);
    uint64_t calls = dbk_sim_calls(sim, 0);
    dbk_sim_free(sim);
    for (uint64_t at = 1; at <= calls; at++) {
        uint32_t ids = 0;
        sim = dbk_sim_clone(old, 100 + at);
        dbk_sim_fail_at(sim, at, 0, at % 2 == 0 ? DBK_EFULL : DBK_EIO, false);
        dbk_ignore(migrate(sim, &(struct run){.batch_max = 12}, script, &err));
        dbk_sim_fail_at(sim, 0, 0, DBK_EIO, false);
        assert_ok(migrate(sim, &(struct run){.batch_max = 12}, script, &err), &err);
        check(sim, last, &ids);
        dbk_sim_free(sim);
    }
    dbk_sim_free(old);
}

static void test_migrate_copy__a_failing_script_loses_nothing(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_sim *sim = dbk_sim_create(3);
    uint64_t last = fill(sim, 500);
    char failing[2 * sizeof(script)];
    /* The same, but that it fails at one event far behind. */
    (void)snprintf(failing, sizeof(failing), "%s",
                   "return { version = 1, any = function(event)\n"
                   "    if event.position == 400 then error('not this one') end\n"
                   "    return true\nend }\n");
    int rc = migrate(sim, &(struct run){.batch_max = 30}, failing, &err);
    assert_int_equal(rc, DBK_ESCRIPT);
    assert_non_null(strstr(err.message, "position 400, "));
    assert_non_null(strstr(err.message, "m.lua:2: not this one"));
    struct dbk_store *store = open_store(sim, "new", false, &err);
    struct dbk_migrate_place place;
    assert_ok(dbk_migrate_place(store, 350, &place, &err), &err);
    assert_int_equal(dbk_migrate_place(store, 400, &place, &err), DBK_ENOTFOUND);
    dbk_store_free(store);
    /* Another script is another migration. */
    assert_int_equal(migrate(sim, &(struct run){.batch_max = 30}, script, &err), DBK_ECONFLICT);
    assert_non_null(strstr(err.message, "--changed-script"));
    (void)last;
    dbk_sim_free(sim);
}

static void test_migrate_copy__fills_no_book_with_events(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_append_result result;
    struct dbk_sim *sim = dbk_sim_create(3);
    (void)fill(sim, 5);
    struct dbk_store *store = open_store(sim, "new", true, &err);
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("a"),
                                  .type = DBK_SLICE_LITERAL("T"),
                                  .occurred_us = DBK_TIME_NONE};
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
    dbk_store_free(store);
    assert_int_equal(migrate(sim, &(struct run){.batch_max = 30}, script, &err), DBK_EDENIED);
    assert_non_null(strstr(err.message, "events of its own"));
    dbk_sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrate_copy__is_what_the_script_says),
        cmocka_unit_test(test_migrate_copy__goes_on_wherever_it_ended),
        cmocka_unit_test(test_migrate_copy__survives_a_crash_at_every_call),
        cmocka_unit_test(test_migrate_copy__survives_each_failing_call),
        cmocka_unit_test(test_migrate_copy__a_failing_script_loses_nothing),
        cmocka_unit_test(test_migrate_copy__fills_no_book_with_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
