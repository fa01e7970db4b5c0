/* SPDX-License-Identifier: Apache-2.0 */
/*
 * condition_test -- dynamic consistency boundaries: random conditions against a look at every
 * event, in memory and in runs; many writers of whom the boundary lets one through; refused input.
 */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#include "os/sim.h"
#include "store/store.h"

#define EVENTS 1500
#define THREADS 12

struct sample {
    unsigned type;
    unsigned tags; /* bit n: it has tag gn */
};

struct fixture {
    struct dbk_sim *sim;
    struct dbk_store *store;
    struct sample samples[EVENTS + 1];
    uint64_t count;
};

static uint32_t random_number(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

static struct dbk_slice tag_of(unsigned tag)
{
    return dbk_slice(&"g0g1g2g3g4g5g6g7"[2 * tag], 2);
}

static struct dbk_slice type_of(unsigned type)
{
    return dbk_slice(&"T0T1T2T3T4T5"[2 * type], 2);
}

static void open_store(struct fixture *fixture)
{
    struct dbk_error err = {0};
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(fixture->sim),
                                                         .folder = "data",
                                                         .writer = true,
                                                         .chunk_events = 128,
                                                         .segment_size = 30000},
                             &fixture->store, &err),
              &err);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.sim = dbk_sim_create(9)};
    open_store(&fixture);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    dbk_store_free(fixture->store);
    dbk_sim_free(fixture->sim);
    return 0;
}

static int append(struct fixture *fixture, const struct sample *sample,
                  const struct dbk_condition *condition, struct dbk_append_result *result,
                  struct dbk_error *err)
{
    struct dbk_slice tags[8];
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("a-1"),
                                  .type = type_of(sample->type),
                                  .data = DBK_SLICE_LITERAL("{}"),
                                  .tags = tags,
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    for (unsigned tag = 0; tag < 8; tag++) {
        if ((sample->tags >> tag & 1) != 0)
            tags[event.tag_count++] = tag_of(tag);
    }
    return dbk_store_append(
        fixture->store, &(struct dbk_batch){.events = &event, .count = 1, .condition = *condition},
        result, err);
}

static bool matches(const struct dbk_query *query, const struct sample *sample)
{
    for (size_t i = 0; i < query->count; i++) {
        const struct dbk_query_item *item = &query->items[i];
        bool any = item->type_count == 0;
        for (size_t j = 0; j < item->type_count; j++)
            any = any || item->types[j].data[1] == (char)('0' + sample->type);
        for (size_t j = 0; j < item->tag_count; j++)
            any = any && (sample->tags >> (item->tags[j].data[1] - '0') & 1) != 0;
        if (any)
            return true;
    }
    return false;
}

static void make_condition(struct fixture *fixture, struct dbk_condition *condition, uint32_t *seed)
{
    static struct dbk_query_item items[3];
    static struct dbk_slice names[3][5];
    *condition = (struct dbk_condition){{items, 1 + random_number(seed) % 3}, 0};
    for (size_t i = 0; i < 3; i++) {
        items[i] = (struct dbk_query_item){names[i], random_number(seed) % 3, names[i] + 2,
                                           random_number(seed) % 4};
        for (size_t j = 0; j < 5; j++)
            names[i][j] =
                j < 2 ? type_of(random_number(seed) % 6) : tag_of(random_number(seed) % 8);
    }
    if (random_number(seed) % 4 != 0)
        condition->after = fixture->count - random_number(seed) % 40 % (fixture->count + 1);
    if (random_number(seed) % 16 == 0)
        condition->after = fixture->count + random_number(seed) % 3;
}

/* The newest position behind `after` that matches, by looking at every event. */
static uint64_t model(const struct fixture *fixture, const struct dbk_condition *condition)
{
    for (uint64_t position = fixture->count; position > condition->after; position--) {
        if (matches(&condition->none, &fixture->samples[position]))
            return position;
    }
    return 0;
}

static void test_store_condition__holds_when_nothing_behind_after_matches(void **state)
{
    struct fixture *fixture = *state;
    uint32_t seed = 4;
    while (fixture->count < EVENTS) {
        struct dbk_condition condition;
        struct dbk_append_result result;
        struct dbk_error err = {0};
        struct sample sample = {random_number(&seed) % 5, random_number(&seed) &
                                                              random_number(&seed) &
                                                              random_number(&seed) & 255};
        make_condition(fixture, &condition, &seed);
        uint64_t newest = model(fixture, &condition);
        int rc = append(fixture, &sample, &condition, &result, &err);
        if (newest > 0) {
            assert_int_equal(rc, DBK_ECONFLICT);
            assert_int_equal(result.matched_position, newest);
            condition.none.count = 0;
            rc = append(fixture, &sample, &condition, &result, &err);
        }
        assert_ok(rc, &err);
        fixture->samples[++fixture->count] = sample;
        assert_int_equal(result.last_position, fixture->count);
        if (fixture->count % 400 == 0) {
            dbk_store_free(fixture->store);
            open_store(fixture);
        }
    }
}

struct racer {
    struct fixture *fixture;
    _Atomic unsigned *taken;
};

/* Takes seats: whoever finds a seat's tag free takes it. */
static void *race(void *context)
{
    struct racer *racer = context;
    for (unsigned seat = 0; seat < 8; seat++) {
        struct dbk_slice tag = tag_of(seat);
        struct dbk_query_item item = {.tags = &tag, .tag_count = 1};
        struct dbk_condition condition = {{&item, 1}, 0};
        struct dbk_append_result result;
        struct dbk_error err = {0};
        int rc = append(racer->fixture, &(struct sample){0, 1u << seat}, &condition, &result, &err);
        if (rc == DBK_OK)
            atomic_fetch_add(&racer->taken[seat], 1);
        else if (rc != DBK_ECONFLICT ||
                 result.matched_position > dbk_store_last_position(racer->fixture->store))
            return racer;
    }
    return NULL;
}

static void test_store_condition__lets_one_of_many_through(void **state)
{
    struct fixture *fixture = *state;
    _Atomic unsigned taken[8] = {0};
    pthread_t threads[THREADS];
    struct racer racer = {fixture, taken};
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racer), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *failed = NULL;
        (void)pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (size_t seat = 0; seat < 8; seat++)
        assert_int_equal(taken[seat], 1);
    assert_int_equal(dbk_store_last_position(fixture->store), 8);
}

static void test_store_condition__guards_beside_several_expectations(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    struct dbk_slice tag = tag_of(1);
    struct dbk_query_item item = {.tags = &tag, .tag_count = 1};
    struct dbk_new_event events[2] = {
        {.stream = DBK_SLICE_LITERAL("a-1"), .type = type_of(1), .occurred_us = DBK_TIME_NONE},
        {.stream = DBK_SLICE_LITERAL("b-1"),
         .type = type_of(1),
         .tags = &tag,
         .tag_count = 1,
         .occurred_us = DBK_TIME_NONE}};
    struct dbk_expectation expectations[2] = {{events[0].stream, 0}, {events[1].stream, 0}};
    struct dbk_batch batch = {.events = events,
                              .count = 2,
                              .expectations = expectations,
                              .expectation_count = 2,
                              .condition = {{&item, 1}, 0}};
    assert_ok(dbk_store_append(fixture->store, &batch, &result, &err), &err);
    expectations[0].version = expectations[1].version = 1;
    assert_int_equal(dbk_store_append(fixture->store, &batch, &result, &err), DBK_ECONFLICT);
    assert_int_equal(result.failed_expectation, 2);
    assert_int_equal(result.matched_position, 2);
    batch.condition.after = 2;
    expectations[1].version = 5;
    assert_int_equal(dbk_store_append(fixture->store, &batch, &result, &err), DBK_ECONFLICT);
    assert_int_equal(result.failed_expectation, 1);
    assert_int_equal(result.matched_position, 0);
    expectations[1].version = 1;
    assert_ok(dbk_store_append(fixture->store, &batch, &result, &err), &err);
    assert_int_equal(dbk_store_last_position(fixture->store), 4);
}

static void test_store_condition__names_what_is_wrong_with_it(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_append_result result;
    struct dbk_error err = {0};
    static char text[DBK_TYPE_SIZE_MAX + 1];
    struct dbk_slice name = dbk_slice(text, sizeof(text));
    struct dbk_query_item item = {.types = &name, .type_count = 1};
    struct dbk_condition condition = {{&item, 1}, 0};
    assert_int_equal(append(fixture, &(struct sample){0}, &condition, &result, &err), DBK_EINVAL);
    assert_non_null(strstr(err.message, "type 0 of item 0 has 256 bytes"));
    item = (struct dbk_query_item){.tags = &(struct dbk_slice){0}, .tag_count = 1};
    assert_int_equal(append(fixture, &(struct sample){0}, &condition, &result, &err), DBK_EINVAL);
    assert_non_null(strstr(err.message, "tag 0 of item 0 has 0 bytes"));
    static struct dbk_query_item many[DBK_QUERY_NAMES_MAX + 1];
    condition.none = (struct dbk_query){many, DBK_QUERY_NAMES_MAX + 1};
    assert_int_equal(append(fixture, &(struct sample){0}, &condition, &result, &err), DBK_ELIMIT);
    assert_int_equal(dbk_store_last_position(fixture->store), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_store_condition__##name, set_up, tear_down)
        TEST(holds_when_nothing_behind_after_matches),
        TEST(lets_one_of_many_through),
        TEST(guards_beside_several_expectations),
        TEST(names_what_is_wrong_with_it),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
