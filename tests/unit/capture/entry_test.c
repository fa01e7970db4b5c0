/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry_test -- what the book gets is what the source did, whatever ends the capture meanwhile.
 *
 * The source is a list of transactions that chance made, over rows of one small table. The oracle
 * is a row of numbers: what each key's value is. Captures are ended at any change and begun again
 * from what the book says; batches are so small that most transactions are stored in parts.
 */
#include "test.h"

#include <stdlib.h>
#include <string.h>

#include "capture/entry.h"
#include "json/json.h"
#include "os/sim.h"

#define KEYS 12
#define CHANGES_MAX 30
#define BATCH_MAX 7

enum what { INSERT, CHANGE, KEEP, MOVE, DELETE, TRUNCATE };

struct step {
    enum what what;
    int key;
    int to; /* MOVE: the key that it gets */
    int value;
};

struct transaction {
    struct step steps[CHANGES_MAX];
    size_t count;
};

/* The state that is stored is how many transactions were told. */
struct fake {
    struct dbk_source base;
    struct transaction *transactions;
    size_t count;
    size_t told;
    size_t step; /* 0: BEGIN is next; n: the n-th step */
    char position[16];
    struct dbk_slice key[1];
    struct dbk_slice old_key[1];
    char key_text[2][8];
    char value_text[8];
    struct dbk_change_value values[3];
};

static struct dbk_capture_table tables[] = {{.name = "t",
                                             .kind = DBK_CAPTURE_CDC,
                                             .masked = (const char *const[]){"secret"},
                                             .masked_count = 1}};
static const struct dbk_capture_service service = {
    .name = "s", .file = "services/s.yaml", .database = "d", .tables = tables, .table_count = 1};
static struct dbk_sim *sim;
static struct dbk_store *store;
static uint64_t seed;

static unsigned chance(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

/* ---- The source ---- */

static struct dbk_slice identity(const struct dbk_source *source)
{
    (void)source;
    return DBK_SLICE_LITERAL("fake");
}

static void put_state(const struct dbk_source *source, struct dbk_buf *out)
{
    dbk_buf_append_format(out, "{\"told\":%zu}", ((const struct fake *)source)->told);
}

static const struct dbk_source_driver driver = {.identity = identity, .state = put_state};

static const struct dbk_slice *name_key(struct fake *fake, int key, bool old)
{
    struct dbk_slice *name = old ? fake->old_key : fake->key;
    (void)snprintf(fake->key_text[old], sizeof(fake->key_text[old]), "%d", key);
    *name = dbk_slice_of(fake->key_text[old]);
    return name;
}

static struct dbk_change change_of(struct fake *fake, const struct step *step)
{
    static const struct dbk_slice names[] = {{"k", 1}, {"v", 1}, {"secret", 6}};
    static const struct dbk_change_shape shape = {1, names, 3};
    struct dbk_change change = {.kind = DBK_CHANGE_ROW, .key_count = 1, .shape = &shape};
    (void)snprintf(fake->value_text, sizeof(fake->value_text), "%d", step->value);
    fake->values[1] = (struct dbk_change_value){DBK_CHANGE_JSON, dbk_slice_of(fake->value_text)};
    fake->values[2] = (struct dbk_change_value){DBK_CHANGE_TEXT, DBK_SLICE_LITERAL("hidden")};
    if (step->what == DELETE)
        change.kind = DBK_CHANGE_DELETE;
    if (step->what == TRUNCATE)
        change.kind = DBK_CHANGE_TRUNCATE;
    change.key = name_key(fake, step->what == MOVE ? step->to : step->key, false);
    if (step->what == MOVE)
        change.old_key = name_key(fake, step->key, true);
    if (step->what == KEEP || step->what == MOVE)
        fake->values[1].kind = fake->values[2].kind = DBK_CHANGE_UNCHANGED;
    fake->values[0] = (struct dbk_change_value){DBK_CHANGE_JSON, change.key[0]};
    change.values = fake->values;
    return change;
}

/* False: there is no more. */
static bool next(struct fake *fake, struct dbk_change *change_out)
{
    if (fake->told == fake->count)
        return false;
    const struct transaction *transaction = &fake->transactions[fake->told];
    (void)snprintf(fake->position, sizeof(fake->position), "%zu", fake->told);
    if (fake->step == 0)
        *change_out = (struct dbk_change){.kind = DBK_CHANGE_BEGIN,
                                          .position = dbk_slice_of(fake->position),
                                          .time_us = 1000000 + (int64_t)fake->told};
    else if (fake->step <= transaction->count)
        *change_out = change_of(fake, &transaction->steps[fake->step - 1]);
    else
        *change_out = (struct dbk_change){.kind = DBK_CHANGE_END};
    fake->step++;
    if (change_out->kind == DBK_CHANGE_END) {
        fake->step = 0;
        fake->told++;
    }
    return true;
}

/* What chance does to rows that are there, and to those that are not. */
static void make_step(struct step *step, int rows[KEYS])
{
    *step = (struct step){.key = (int)chance(KEYS), .value = (int)chance(3) + 1};
    int *row = &rows[step->key];
    if (chance(40) == 0) {
        step->what = TRUNCATE;
        memset(rows, 0, KEYS * sizeof(*rows));
    } else if (*row == 0) {
        step->what = INSERT;
        *row = step->value;
    } else if (chance(4) == 0) {
        step->what = DELETE;
        *row = 0;
    } else if (chance(4) == 0) {
        step->what = KEEP;
    } else if (step->to = (int)chance(KEYS), chance(3) == 0 && rows[step->to] == 0) {
        step->what = MOVE;
        rows[step->to] = *row;
        *row = 0;
    } else {
        step->what = CHANGE;
        *row = step->value;
    }
}

static void make_transactions(struct fake *fake, size_t count, int rows[KEYS])
{
    *fake = (struct fake){.base = {&driver}, .count = count};
    fake->transactions = calloc(count, sizeof(*fake->transactions));
    assert_non_null(fake->transactions);
    for (size_t i = 0; i < count; i++) {
        struct transaction *transaction = &fake->transactions[i];
        transaction->count = chance(4) == 0 ? chance(CHANGES_MAX) + 1 : chance(4);
        for (size_t j = 0; j < transaction->count; j++)
            make_step(&transaction->steps[j], rows);
    }
}

/* ---- The book ---- */

static int append(void *context, const struct dbk_batch *batch,
                  struct dbk_append_result *result_out, struct dbk_error *err)
{
    (void)context;
    return dbk_store_append(store, batch, result_out, err);
}

static void open_store(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(sim),
                                                         .folder = "data",
                                                         .writer = true,
                                                         .batch_count_max = BATCH_MAX,
                                                         .chunk_events = 64},
                             &store, &err),
              &err);
}

static void begin(void)
{
    sim = dbk_sim_create(1);
    assert_non_null(sim);
    open_store();
}

static void end(void)
{
    dbk_store_free(store);
    store = NULL;
    dbk_sim_free(sim);
}

static struct dbk_entry *open_entry(const struct fake *fake)
{
    struct dbk_error err = {0};
    struct dbk_entry *entry = NULL;
    assert_ok(dbk_entry_open(&(struct dbk_entry_options){.store = store,
                                                         .service = &service,
                                                         .append = append,
                                                         .batch_count_max = BATCH_MAX,
                                                         .event_size_max = 1 << 20},
                             &entry, &err),
              &err);
    dbk_entry_follow(entry, &fake->base);
    return entry;
}

/* Where the book says that the source is to go on. */
static void go_back(struct fake *fake, const struct dbk_entry *entry)
{
    const size_t before = strlen("{\"told\":");
    struct dbk_slice state = dbk_entry_state(entry);
    uint64_t told = 0;
    fake->step = 0;
    if (state.size > 0)
        assert_true(
            dbk_slice_to_u64(dbk_slice(state.data + before, state.size - before - 1), &told));
    fake->told = (size_t)told;
}

/* Captures everything, ended by chance. */
static void capture(struct fake *fake)
{
    struct dbk_error err = {0};
    struct dbk_change change;
    struct dbk_entry *entry = open_entry(fake);
    for (;;) {
        if (!next(fake, &change))
            break;
        assert_ok(dbk_entry_take(entry, &change, &err), &err);
        bool whole = change.kind == DBK_CHANGE_END;
        if (whole && (dbk_entry_is_full(entry) || chance(3) == 0))
            assert_ok(dbk_entry_store(entry, chance(5) == 0, &err), &err);
        if (chance(20) != 0)
            continue;
        dbk_entry_free(entry);
        entry = open_entry(fake);
        go_back(fake, entry);
    }
    assert_ok(dbk_entry_store(entry, true, &err), &err);
    assert_int_equal(fake->told, fake->count);
    dbk_entry_free(entry);
}

/* Replays the book; each event must fit what its row was. */
static void replay(int rows_out[KEYS])
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_json *json = dbk_json_create(1 << 20);
    memset(rows_out, 0, KEYS * sizeof(*rows_out));
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    while (dbk_cursor_next(cursor, &event, &err) == 1) {
        const struct dbk_json_node *root = NULL;
        assert_ok(dbk_json_parse(json, event.data, &root, &err), &err);
        const struct dbk_json_node *now = dbk_json_member(root, "new");
        const struct dbk_json_node *old = dbk_json_member(root, "old");
        const struct dbk_json_node *any = now == NULL ? old : now;
        assert_non_null(any);
        int64_t key = dbk_json_member(any, "k")->integer;
        assert_slice_equal(dbk_json_member(any, "secret")->text, DBK_CAPTURE_MASK);
        assert_int_equal(rows_out[key], old == NULL ? 0 : dbk_json_member(old, "v")->integer);
        int value = now == NULL ? 0 : (int)dbk_json_member(now, "v")->integer;
        assert_int_not_equal(value, rows_out[key]);
        rows_out[key] = value;
        assert_slice_equal(event.type, now == NULL   ? "t.delete"
                                       : old == NULL ? "t.insert"
                                                     : "t.update");
    }
    dbk_cursor_free(cursor);
    dbk_json_free(json);
}

static void test_capture_entry__the_book_replays_to_the_source(void **state)
{
    (void)state;
    for (uint64_t run = 1; run <= 60; run++) {
        struct fake fake;
        int rows[KEYS] = {0};
        int replayed[KEYS];
        seed = run;
        begin();
        make_transactions(&fake, 60, rows);
        capture(&fake);
        replay(replayed);
        if (memcmp(rows, replayed, sizeof(rows)) != 0)
            fail_msg("run %u: the book is not the source", (unsigned)run);
        free(fake.transactions);
        end();
    }
}

static void test_capture_entry__two_captures_exclude_each_other(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_change change;
    struct fake one;
    struct fake two;
    int rows[KEYS] = {0};
    seed = 5;
    begin();
    make_transactions(&one, 3, rows);
    two = one;
    struct dbk_entry *first = open_entry(&one);
    struct dbk_entry *second = open_entry(&two);
    while (next(&one, &change))
        assert_ok(dbk_entry_take(first, &change, &err), &err);
    assert_ok(dbk_entry_store(first, true, &err), &err);
    int rc = DBK_OK;
    while (rc == DBK_OK && next(&two, &change))
        rc = dbk_entry_take(second, &change, &err);
    if (rc == DBK_OK)
        rc = dbk_entry_store(second, true, &err);
    assert_int_equal(rc, DBK_ECONFLICT);
    dbk_entry_free(first);
    dbk_entry_free(second);
    free(one.transactions);
    end();
}

static void test_capture_entry__what_the_book_does_not_have_is_named(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_change change;
    struct transaction kept = {.steps = {{.what = KEEP, .key = 3}}, .count = 1};
    struct fake fake = {.base = {&driver}, .transactions = &kept, .count = 1};
    begin();
    struct dbk_entry *entry = open_entry(&fake);
    assert_true(next(&fake, &change));
    assert_ok(dbk_entry_take(entry, &change, &err), &err);
    assert_true(next(&fake, &change));
    assert_int_equal(dbk_entry_take(entry, &change, &err), DBK_EINVAL);
    assert_string_equal(err.message,
                        "the column v of s.t-3 did not change, so the database did not send it, "
                        "and the book does not have it: `daybook capture resnapshot s` reads the "
                        "tables again");
    /* A row that a snapshot will bring is none of that. */
    change.unread = true;
    assert_ok(dbk_entry_take(entry, &change, &err), &err);
    assert_int_equal(dbk_entry_gathered(entry), 0);
    dbk_entry_free(entry);
    end();
}

static void test_capture_entry__another_transaction_than_the_stored_part_is_refused(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_change change;
    struct fake fake;
    struct transaction large = {.count = CHANGES_MAX};
    for (int i = 0; i < CHANGES_MAX; i++)
        large.steps[i] = (struct step){.what = CHANGE, .key = i % KEYS, .value = i + 1};
    fake = (struct fake){.base = {&driver}, .transactions = &large, .count = 1};
    begin();
    struct dbk_entry *entry = open_entry(&fake);
    for (int i = 0; i < CHANGES_MAX; i++) {
        assert_true(next(&fake, &change));
        assert_ok(dbk_entry_take(entry, &change, &err), &err);
    }
    dbk_entry_free(entry);
    entry = open_entry(&fake);
    change = (struct dbk_change){.kind = DBK_CHANGE_BEGIN, .position = DBK_SLICE_LITERAL("other")};
    assert_int_equal(dbk_entry_take(entry, &change, &err), DBK_ECORRUPT);
    dbk_entry_free(entry);
    end();
}

static uint64_t events_shown(void)
{
    struct dbk_error err = {0};
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t count = 0;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    while (dbk_cursor_next(cursor, &event, &err) == 1)
        count++;
    dbk_cursor_free(cursor);
    return count;
}

static uint64_t events_stored(void)
{
    struct dbk_error err = {0};
    struct dbk_store_stats stats;
    assert_ok(dbk_store_stats(store, &stats, &err), &err);
    return stats.events;
}

static void test_capture_entry__a_part_is_not_shown(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_change change;
    struct fake fake;
    struct transaction large = {.count = CHANGES_MAX};
    for (int i = 0; i < CHANGES_MAX; i++)
        large.steps[i] = (struct step){.what = CHANGE, .key = i % KEYS, .value = i + 1};
    fake = (struct fake){.base = {&driver}, .transactions = &large, .count = 1};
    begin();
    struct dbk_entry *entry = open_entry(&fake);
    for (int i = 0; i < CHANGES_MAX; i++) {
        assert_true(next(&fake, &change));
        assert_ok(dbk_entry_take(entry, &change, &err), &err);
    }
    assert_int_equal(events_shown(), 0);
    assert_int_equal(dbk_store_last_position(store), 0);
    assert_true(events_stored() > BATCH_MAX);
    /* It is known again when the book is opened. */
    dbk_entry_free(entry);
    dbk_store_free(store);
    open_store();
    entry = open_entry(&fake);
    assert_int_equal(events_shown(), 0);
    go_back(&fake, entry);
    while (next(&fake, &change))
        assert_ok(dbk_entry_take(entry, &change, &err), &err);
    assert_int_equal(events_shown(), 0);
    assert_ok(dbk_entry_store(entry, false, &err), &err);
    assert_int_equal(events_shown(), CHANGES_MAX);
    dbk_entry_free(entry);
    end();
}

static void test_capture_entry__a_part_that_will_never_be_whole_is_shown(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_change change;
    struct transaction large = {.count = CHANGES_MAX};
    for (int i = 0; i < CHANGES_MAX; i++)
        large.steps[i] = (struct step){.what = CHANGE, .key = i % KEYS, .value = i + 1};
    struct fake fake = {.base = {&driver}, .transactions = &large, .count = 1};
    begin();
    struct dbk_entry *entry = open_entry(&fake);
    for (int i = 0; i < CHANGES_MAX; i++) {
        assert_true(next(&fake, &change));
        assert_ok(dbk_entry_take(entry, &change, &err), &err);
    }
    dbk_entry_free(entry);
    entry = open_entry(&fake);
    assert_ok(dbk_entry_note(entry, dbk_entry_state(entry), true, &err), &err);
    assert_true(events_shown() > 0);
    assert_true(dbk_entry_resnapshot(entry));
    dbk_entry_free(entry);
    end();
}

static void test_capture_entry__batches_have_room_for_a_change(void **state)
{
    (void)state;
    struct dbk_error err = {0};
    struct dbk_entry *entry = NULL;
    begin();
    assert_int_equal(dbk_entry_open(&(struct dbk_entry_options){.store = store,
                                                                .service = &service,
                                                                .append = append,
                                                                .batch_count_max = 2,
                                                                .event_size_max = 1 << 20},
                                    &entry, &err),
                     DBK_ELIMIT);
    assert_string_equal(err.message, "s cannot be captured in batches of 2 events: set "
                                     "batch_events in book.yaml to 3 or more");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_capture_entry__the_book_replays_to_the_source),
        cmocka_unit_test(test_capture_entry__two_captures_exclude_each_other),
        cmocka_unit_test(test_capture_entry__what_the_book_does_not_have_is_named),
        cmocka_unit_test(test_capture_entry__a_part_is_not_shown),
        cmocka_unit_test(test_capture_entry__a_part_that_will_never_be_whole_is_shown),
        cmocka_unit_test(test_capture_entry__batches_have_room_for_a_change),
        cmocka_unit_test(test_capture_entry__another_transaction_than_the_stored_part_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
