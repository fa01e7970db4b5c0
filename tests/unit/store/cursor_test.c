/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor_test -- random filters against a plain look at every event; tails without gap or
 * duplicate; readers of another process beside the writer.
 */
#include "test.h"

#include <pthread.h>

#include "os/sim.h"
#include "store/store.h"

#define EVENTS 3000

struct sample {
    char stream[24];
    char type[8];
    unsigned tags;        /* bit n: it has tag gn */
    unsigned correlation; /* n: it has kn; 0: none */
    uint64_t version;
    int64_t time_us;
    int64_t occurred_us;
};

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct sample samples[EVENTS + 1];
static uint64_t sample_count;

static uint32_t random_number(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static void open_store(bool writer, struct dbk_store **store_out)
{
    struct dbk_error err = {0};
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(sim),
                                                         .folder = "data",
                                                         .writer = writer,
                                                         .segment_size = 30000},
                             store_out, &err),
              &err);
}

/* g0 to g4. */
static struct dbk_slice tag_of(unsigned tag)
{
    return dbk_slice(&"g0g1g2g3g4"[2 * tag], 2);
}

static void append(uint64_t count, uint32_t *seed)
{
    struct dbk_slice tags[64][5];
    char metas[64][32];
    struct dbk_new_event events[64];
    struct dbk_append_result result;
    struct dbk_error err = {0};
    for (uint64_t i = 0; i < count; i++) {
        struct sample *sample = &samples[sample_count + 1 + i];
        uint32_t number = random_number(seed) % 50;
        (void)snprintf(sample->stream, sizeof(sample->stream), "c%u-%u", number % 7, number);
        (void)snprintf(sample->type, sizeof(sample->type), "T%u", random_number(seed) % 5);
        sample->tags = random_number(seed) & random_number(seed) & 31;
        sample->occurred_us =
            random_number(seed) % 4 == 0 ? DBK_TIME_NONE : 1000 + random_number(seed) % 500;
        sample->correlation = random_number(seed) % 9;
        (void)snprintf(metas[i], sizeof(metas[i]), "{\"correlationid\":\"k%u\"}",
                       sample->correlation);
        events[i] = (struct dbk_new_event){.stream = dbk_slice_of(sample->stream),
                                           .type = dbk_slice_of(sample->type),
                                           .data = DBK_SLICE_LITERAL("{}"),
                                           .occurred_us = sample->occurred_us,
                                           .tags = tags[i],
                                           .flags = DBK_RECORD_JSON};
        if (sample->correlation > 0)
            events[i].meta = dbk_slice_of(metas[i]);
        for (unsigned tag = 0; tag < 5; tag++) {
            if ((sample->tags >> tag & 1) != 0)
                tags[i][events[i].tag_count++] = tag_of(tag);
        }
    }
    assert_ok(dbk_store_append(store, &(struct dbk_batch){.events = events, .count = count},
                               &result, &err),
              &err);
    sample_count += count;
}

/* Versions and times as a read of the whole book tells them: the model's oracle is order alone. */
static void learn(void)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    uint64_t position = 0;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){0}, &cursor, &err), &err);
    while (dbk_cursor_next(cursor, &event, &err) > 0) {
        struct sample *sample = &samples[++position];
        uint64_t version = 1;
        assert_int_equal(event.position, position);
        assert_slice_equal(event.stream, sample->stream);
        for (uint64_t at = position; --at > 0;) {
            if (strcmp(samples[at].stream, sample->stream) == 0) {
                version = samples[at].version + 1;
                break;
            }
        }
        assert_int_equal(event.version, version);
        sample->version = version;
        sample->time_us = event.time_us;
        assert_true(position == 1 || samples[position - 1].time_us <= event.time_us);
    }
    assert_int_equal(position, sample_count);
    dbk_cursor_free(cursor);
}

static bool contains(const struct dbk_slice *names, size_t count, struct dbk_slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_slice_equal(names[i], name))
            return true;
    }
    return count == 0;
}

static bool fits_query(const struct dbk_query *query, const struct sample *sample)
{
    for (size_t i = 0; i < query->count; i++) {
        const struct dbk_query_item *item = &query->items[i];
        bool fits = contains(item->types, item->type_count, dbk_slice_of(sample->type));
        for (size_t j = 0; j < item->tag_count; j++)
            fits = fits && (sample->tags >> (item->tags[j].data[1] - '0') & 1) != 0;
        if (fits)
            return true;
    }
    return query->count == 0;
}

static bool fits(const struct dbk_filter *filter, uint64_t position)
{
    const struct sample *sample = &samples[position];
    struct dbk_slice stream = dbk_slice_of(sample->stream);
    int64_t occurred = sample->occurred_us == DBK_TIME_NONE ? sample->time_us : sample->occurred_us;
    return (filter->stream.size == 0 || dbk_slice_equal(filter->stream, stream)) &&
           dbk_slice_starts_with(stream, filter->stream_prefix) &&
           fits_query(&filter->query, sample) &&
           (filter->correlation.size == 0 ||
            filter->correlation.data[1] - '0' == (int)sample->correlation) &&
           contains(filter->categories, filter->category_count, dbk_stream_category(stream)) &&
           contains(filter->types, filter->type_count, dbk_slice_of(sample->type)) &&
           position >= filter->position_min &&
           (filter->position_max == 0 || position <= filter->position_max) &&
           sample->version >= filter->version_min &&
           (filter->version_max == 0 || sample->version <= filter->version_max) &&
           sample->time_us >= filter->time_min_us &&
           (filter->time_max_us == 0 || sample->time_us <= filter->time_max_us) &&
           (filter->occurred_min_us == 0 || occurred >= filter->occurred_min_us) &&
           (filter->occurred_max_us == 0 || occurred <= filter->occurred_max_us);
}

/* Up to three items of up to two types and three tags each. */
static void make_query(struct dbk_query *query, uint32_t *seed)
{
    static struct dbk_query_item items[3];
    static struct dbk_slice names[3][5];
    static char types[8][4];
    query->items = items;
    query->count = 1 + random_number(seed) % 3;
    for (unsigned i = 0; i < 8; i++)
        (void)snprintf(types[i], sizeof(types[i]), "T%u", i % 7);
    for (size_t i = 0; i < query->count; i++) {
        items[i] = (struct dbk_query_item){names[i], random_number(seed) % 3, names[i] + 2,
                                           random_number(seed) % 4};
        for (size_t j = 0; j < 2; j++)
            names[i][j] = dbk_slice_of(types[random_number(seed) % 8]);
        for (size_t j = 2; j < 5; j++)
            names[i][j] = tag_of(random_number(seed) % 5);
    }
}

static void make_filter(struct dbk_filter *filter, struct dbk_slice names[4], uint32_t *seed)
{
    static char texts[4][8];
    *filter = (struct dbk_filter){.backwards = random_number(seed) % 2 == 0};
    uint64_t some = 1 + random_number(seed) % sample_count;
    switch (random_number(seed) % 7) {
    case 0:
        filter->stream = dbk_slice_of(samples[some].stream);
        if (random_number(seed) % 2 == 0)
            filter->version_min = random_number(seed) % 40;
        if (random_number(seed) % 2 == 0)
            filter->version_max = 1 + random_number(seed) % 60;
        break;
    case 1:
        filter->stream_prefix =
            dbk_slice(samples[some].stream, 1 + random_number(seed) % strlen(samples[some].stream));
        break;
    case 2:
    case 3:
        for (size_t i = 0; i < 4; i++) {
            (void)snprintf(texts[i], sizeof(texts[i]), "%c%u", i < 2 ? 'c' : 'T',
                           random_number(seed) % 8);
            names[i] = dbk_slice_of(texts[i]);
        }
        filter->categories = names;
        filter->category_count = random_number(seed) % 3;
        filter->types = names + 2;
        filter->type_count = random_number(seed) % 3;
        break;
    case 4:
    case 5:
        make_query(&filter->query, seed);
        break;
    default:
        break;
    }
    if (random_number(seed) % 5 == 0)
        filter->correlation = dbk_slice(&"k1k2k3k9"[2 * (some % 4)], 2);
    if (random_number(seed) % 3 == 0)
        filter->position_min = some;
    if (random_number(seed) % 3 == 0)
        filter->position_max = 1 + random_number(seed) % (sample_count + 5);
    if (random_number(seed) % 4 == 0)
        filter->time_min_us = samples[some].time_us;
    if (random_number(seed) % 4 == 0)
        filter->time_max_us = samples[1 + random_number(seed) % sample_count].time_us;
    if (random_number(seed) % 4 == 0)
        filter->occurred_min_us = 1000 + random_number(seed) % 500;
    if (random_number(seed) % 4 == 0)
        filter->occurred_max_us = 1000 + random_number(seed) % 500;
}

static void check_filter(struct dbk_store *from, const struct dbk_filter *filter)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    assert_ok(dbk_cursor_open(from, filter, &cursor, &err), &err);
    for (uint64_t i = 1; i <= sample_count; i++) {
        uint64_t position = filter->backwards ? sample_count + 1 - i : i;
        if (!fits(filter, position))
            continue;
        assert_int_equal(dbk_cursor_next(cursor, &event, &err), 1);
        assert_int_equal(event.position, position);
    }
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 0);
    dbk_cursor_free(cursor);
}

static int set_up(void **state)
{
    uint32_t seed = 11;
    (void)state;
    sim = dbk_sim_create(5);
    sample_count = 0;
    open_store(true, &store);
    while (sample_count < EVENTS - 64)
        append(1 + random_number(&seed) % 64, &seed);
    learn();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dbk_store_free(store);
    dbk_sim_free(sim);
    return 0;
}

static void check_filters(struct dbk_store *from)
{
    uint32_t seed = 5;
    for (int i = 0; i < 1500; i++) {
        struct dbk_filter filter;
        struct dbk_slice names[4];
        make_filter(&filter, names, &seed);
        check_filter(from, &filter);
    }
}

static void test_store_cursor__reads_what_a_look_at_every_event_finds(void **state)
{
    (void)state;
    check_filters(store);
}

static void test_store_cursor__reads_the_same_after_opening_again(void **state)
{
    (void)state;
    dbk_store_free(store);
    open_store(true, &store);
    check_filters(store);
}

static void test_store_cursor__reads_beside_a_writer(void **state)
{
    struct dbk_store *reader = NULL;
    uint32_t seed = 77;
    (void)state;
    open_store(false, &reader);
    check_filters(reader);
    append(30, &seed);
    learn();
    check_filters(reader);
    dbk_store_free(reader);
}

static void test_store_cursor__finds_positions_by_time(void **state)
{
    struct dbk_error err = {0};
    (void)state;
    for (uint64_t at = 1; at <= sample_count; at += 41) {
        for (int64_t shift = -1; shift <= 1; shift++) {
            uint64_t want = 0;
            uint64_t got = 0;
            while (want < sample_count && samples[want + 1].time_us <= samples[at].time_us + shift)
                want++;
            assert_ok(dbk_store_position_at(store, samples[at].time_us + shift, &got, &err), &err);
            assert_int_equal(got, want);
        }
    }
}

static void *append_behind(void *context)
{
    uint32_t seed = 123;
    (void)context;
    for (int i = 0; i < 40; i++)
        append(1, &seed);
    return NULL;
}

static void test_store_cursor__tails_without_gap_or_duplicate(void **state)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    pthread_t thread;
    (void)state;
    uint64_t end = sample_count + 40;
    uint64_t next = sample_count - 10;
    assert_ok(dbk_cursor_open(store, &(struct dbk_filter){.position_min = next}, &cursor, &err),
              &err);
    assert_int_equal(pthread_create(&thread, NULL, append_behind, NULL), 0);
    while (next <= end) {
        int rc = dbk_cursor_next(cursor, &event, &err);
        assert_true(rc >= 0);
        if (rc > 0) {
            assert_int_equal(event.position, next++);
            continue;
        }
        assert_true(dbk_store_wait(store, dbk_store_wakes(store), dbk_cursor_position(cursor),
                                   1000000, &err) >= 0);
        assert_ok(dbk_cursor_extend(cursor, &err), &err);
    }
    (void)pthread_join(thread, NULL);
    assert_int_equal(dbk_cursor_next(cursor, &event, &err), 0);
    dbk_cursor_free(cursor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_store_cursor__##name, set_up, tear_down)
        TEST(reads_what_a_look_at_every_event_finds),
        TEST(reads_the_same_after_opening_again),
        TEST(reads_beside_a_writer),
        TEST(finds_positions_by_time),
        TEST(tails_without_gap_or_duplicate),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
