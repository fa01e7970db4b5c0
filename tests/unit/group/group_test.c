/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_test -- consumer groups against a model: random consumers that read, acknowledge, fail,
 * vanish and come back, with time passing, clean restarts and crashes in between; a full disk;
 * settings; consumers that race.
 */
#include "test.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "group/group.h"
#include "os/sim.h"

#define STREAMS 4
#define EVENTS_MAX 6000
#define CONSUMERS 3
#define STEPS 1000
#define SEEDS 12
#define TIMEOUT_US 2000000

/* UNSAFE: done, and perhaps not saved; PERHAPS: and then there was a crash. */
enum fate { OTHER, OPEN, DONE, UNSAFE, PERHAPS, PARKED };

struct judged {
    enum fate fate;
    unsigned stream;
    bool leased;
    bool asked_to_park;
    uint32_t consumer;
    int64_t due_us; /* not delivered before it: the lease or the retry */
    uint32_t attempts;
};

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct dbk_groups *groups;
static struct judged events[EVENTS_MAX + 1];
static uint64_t last;
static bool ordered;
static uint32_t max_retries;
static bool crashed; /* attempts may be fewer than known */
static uint32_t consumers[CONSUMERS];
static uint64_t random_state;
static uint64_t allocations_before = UINT64_MAX; /* the failing one; UINT64_MAX: none is */

/* What a callback saw that must not be: it holds a lock, and must not end the test itself. */
static char wrong[256];

#define check(condition, position)                                                                 \
    do {                                                                                           \
        if (!(condition) && wrong[0] == '\0')                                                      \
            (void)snprintf(wrong, sizeof(wrong), "position %ju (%d, %u tries): %s",                \
                           (uintmax_t)(position), (int)events[position].fate,                      \
                           events[position].attempts, #condition);                                 \
    } while (0)

static void assert_nothing_wrong(void)
{
    if (wrong[0] != '\0')
        fail_msg("%s", wrong);
}

static uint64_t chance(uint64_t below)
{
    uint64_t mixed = random_state += UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return (mixed ^ mixed >> 31) % below;
}

static int64_t now_us(void)
{
    struct dbk_os *os = dbk_sim_os(sim);
    return os->monotonic_us(os);
}

static int append_to(void *context, const struct dbk_batch *batch,
                     struct dbk_append_result *result_out, struct dbk_error *err)
{
    (void)context;
    return dbk_store_append(store, batch, result_out, err);
}

static void open_all(void)
{
    struct dbk_error err = {0};
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(sim),
                                                         .folder = "data",
                                                         .writer = true,
                                                         .segment_size = 20000,
                                                         .chunk_events = 256},
                             &store, &err),
              &err);
    assert_ok(dbk_groups_open(store, dbk_sim_os(sim), true, append_to, NULL, &groups, &err), &err);
}

static void close_all(void)
{
    dbk_groups_free(groups);
    dbk_store_free(store);
    groups = NULL;
    store = NULL;
}

static int set_up(void **state)
{
    (void)state;
    sim = dbk_sim_create(33);
    memset(events, 0, sizeof(events));
    last = 0;
    crashed = false;
    max_retries = 2;
    wrong[0] = '\0';
    open_all();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_all();
    dbk_sim_free(sim);
    return 0;
}

static const struct dbk_slice name = {"g", 1};

static int set(const char *text, struct dbk_error *err)
{
    uint64_t before = allocations_before;
    const struct dbk_json_node *root = NULL;
    bool created = false;
    allocations_before = UINT64_MAX;
    struct dbk_json *json = dbk_json_create(4096);
    assert_ok(dbk_json_parse(json, dbk_slice_of(text), &root, err), err);
    allocations_before = before;
    int rc = dbk_group_set(groups, name, root, &created, err);
    dbk_json_free(json);
    return rc;
}

/* Events of streams below STREAMS are the group's, others not. */
static void append(unsigned stream)
{
    char text[16];
    struct dbk_append_result result;
    struct dbk_error err = {0};
    int size = snprintf(text, sizeof(text), stream < STREAMS ? "c-%u" : "d-%u", stream);
    struct dbk_new_event event = {.stream = dbk_slice(text, (size_t)size),
                                  .type = DBK_SLICE_LITERAL("T"),
                                  .data = DBK_SLICE_LITERAL("{}"),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
    assert_true(result.last_position <= EVENTS_MAX);
    last = result.last_position;
    if (stream < STREAMS)
        events[last] = (struct judged){.fate = OPEN, .stream = stream};
}

static uint32_t reading; /* the consumer that reads now */

static int take(const struct dbk_event *event, uint32_t attempt, void *context)
{
    struct judged *judged = &events[event->position];
    (void)context;
    if (judged->fate == PERHAPS)
        *judged = (struct judged){.fate = OPEN, .stream = judged->stream};
    check(judged->fate == OPEN, event->position);
    check(!judged->leased || judged->due_us <= now_us(), event->position);
    check(judged->due_us <= now_us(), event->position);
    check(attempt == judged->attempts + 1 || (crashed && attempt <= judged->attempts + 1) ||
              judged->attempts == 0,
          event->position);
    check(attempt <= max_retries + 1, event->position);
    for (uint64_t at = 1; ordered && at < event->position; at++) {
        if (events[at].stream == judged->stream)
            check(events[at].fate != OPEN && events[at].fate != PARKED, event->position);
    }
    judged->attempts = attempt;
    judged->leased = true;
    judged->consumer = reading;
    judged->due_us = now_us() + TIMEOUT_US - 1000;
    return DBK_OK;
}

static size_t read_some(uint32_t consumer, size_t limit)
{
    struct dbk_error err = {0};
    size_t count = 0;
    reading = consumer;
    assert_ok(dbk_group_read(groups,
                             &(struct dbk_group_read){.name = name,
                                                      .consumer = consumer,
                                                      .limit = limit,
                                                      .unacked_max = consumer == 0 ? 0 : 20,
                                                      .each = take},
                             &count, &err),
              &err);
    assert_nothing_wrong();
    uint64_t leased = 0;
    for (uint64_t at = 1; at <= last; at++)
        leased += events[at].fate == OPEN && events[at].leased && events[at].consumer == consumer &&
                  events[at].due_us > now_us();
    assert_true(count <= limit && (consumer == 0 || leased <= 20));
    return count;
}

/* Answers one in `share` of what is leased. */
static void answer_some(enum dbk_group_action action, uint64_t share)
{
    uint64_t positions[64];
    size_t count = 0;
    size_t done = 0;
    struct dbk_error err = {0};
    for (uint64_t at = 1; at <= last && count < 64; at++) {
        if (events[at].fate == OPEN && events[at].leased && chance(share) == 0)
            positions[count++] = at;
    }
    assert_ok(dbk_group_answer(groups,
                               &(struct dbk_group_answer){.name = name,
                                                          .action = action,
                                                          .positions = positions,
                                                          .count = count,
                                                          .reason = dbk_slice_of("because"),
                                                          .delay_us = -1},
                               &done, &err),
              &err);
    assert_int_equal(done, count);
    for (size_t i = 0; i < count; i++) {
        struct judged *judged = &events[positions[i]];
        judged->leased = false;
        judged->due_us = action == DBK_GROUP_RETRY ? now_us() + 900000 : 0;
        judged->asked_to_park = action == DBK_GROUP_PARK;
        if (action == DBK_GROUP_ACK || action == DBK_GROUP_SKIP)
            judged->fate = UNSAFE;
    }
}

static void answer(enum dbk_group_action action)
{
    answer_some(action, 1 + chance(4));
}

static void saved(void)
{
    for (uint64_t at = 1; at <= last; at++) {
        if (events[at].fate == UNSAFE)
            events[at].fate = DONE;
    }
}

static bool seen[EVENTS_MAX + 1];

static int see_parked(const struct dbk_group_parked *parked, void *context)
{
    size_t *count = context;
    const struct judged *judged = &events[parked->position];
    bool behind = false;
    for (uint64_t at = 1; ordered && at < parked->position; at++)
        behind = behind || (events[at].stream == judged->stream && seen[at]);
    check(judged->fate == OPEN || judged->fate == PARKED || judged->fate == PERHAPS,
          parked->position);
    if (judged->fate == OPEN && !crashed)
        check(judged->asked_to_park || judged->attempts > max_retries || behind, parked->position);
    seen[parked->position] = true;
    (*count)++;
    return DBK_OK;
}

/* What is parked for a reason is; and the model takes it over. */
static void check_parked(void)
{
    struct dbk_error err = {0};
    size_t count = 0;
    memset(seen, 0, sizeof(seen));
    assert_ok(dbk_group_list_parked(groups, name, see_parked, &count, &err), &err);
    assert_nothing_wrong();
    for (uint64_t at = 1; at <= last; at++) {
        struct judged *judged = &events[at];
        if (judged->fate == PARKED || (judged->fate == OPEN && judged->asked_to_park))
            assert_true(seen[at]);
        if (seen[at])
            *judged = (struct judged){.fate = PARKED, .stream = judged->stream};
    }
}

static void unpark(bool replay)
{
    uint64_t positions[8];
    size_t count = 0;
    size_t done = 0;
    struct dbk_error err = {0};
    bool all = chance(4) == 0;
    uint64_t conflict = 0;
    for (uint64_t at = 1; at <= last && count < 8 && !all; at++) {
        if (events[at].fate == PARKED && chance(2) == 0)
            positions[count++] = at;
    }
    if (count == 0 && !all)
        return;
    for (size_t i = 0; i < count && ordered && replay; i++) {
        for (uint64_t at = 1; at < positions[i]; at++) {
            bool taken = false;
            for (size_t j = 0; j < count; j++)
                taken = taken || positions[j] == at;
            if (events[at].fate == PARKED && events[at].stream == events[positions[i]].stream &&
                !taken)
                conflict = at;
        }
    }
    int rc = dbk_group_unpark(groups, name, replay, positions, count, &done, &err);
    if (conflict != 0) {
        assert_int_equal(rc, DBK_ECONFLICT);
        return;
    }
    assert_ok(rc, &err);
    for (uint64_t at = 1; at <= last; at++) {
        bool taken = all;
        for (size_t j = 0; j < count; j++)
            taken = taken || positions[j] == at;
        if (events[at].fate == PARKED && taken)
            events[at].fate = replay ? OPEN : DONE;
    }
    if (done > 0)
        saved();
}

static void rejoin(size_t index)
{
    struct dbk_error err = {0};
    dbk_group_leave(groups, name, consumers[index]);
    for (uint64_t at = 1; at <= last; at++) {
        if (events[at].leased && events[at].consumer == consumers[index]) {
            events[at].leased = false;
            events[at].due_us = 0;
        }
    }
    assert_ok(dbk_group_join(groups, name, &consumers[index], &err), &err);
}

static void restart(bool crash)
{
    struct dbk_error err = {0};
    if (crash)
        dbk_sim_crash_at(sim, 1, 0);
    else
        saved();
    close_all();
    if (crash)
        dbk_sim_restart(sim, DBK_SIM_NONE, DBK_SIM_NONE, chance(1000));
    open_all();
    crashed = crashed || crash;
    for (uint64_t at = 1; at <= last; at++) {
        events[at].leased = false;
        events[at].due_us = 0;
        if (crash && events[at].fate == UNSAFE)
            events[at].fate = PERHAPS;
    }
    for (size_t i = 0; i < CONSUMERS; i++)
        assert_ok(dbk_group_join(groups, name, &consumers[i], &err), &err);
}

static void step(void)
{
    uint64_t what = chance(100);
    if (what < 30) {
        append((unsigned)chance(STREAMS + 2));
    } else if (what < 60) {
        size_t index = chance(CONSUMERS + 1);
        (void)read_some(index == CONSUMERS ? 0 : consumers[index], 1 + chance(6));
    } else if (what < 75) {
        answer(DBK_GROUP_ACK);
    } else if (what < 80) {
        answer(DBK_GROUP_RETRY);
    } else if (what < 82) {
        answer(DBK_GROUP_PARK);
    } else if (what < 84) {
        answer(DBK_GROUP_SKIP);
    } else if (what < 88) {
        unpark(chance(3) > 0);
    } else if (what < 91) {
        rejoin(chance(CONSUMERS));
    } else if (what < 97) {
        dbk_sim_pass_us(sim, (int64_t)chance(3000000));
    } else {
        restart(what == 99);
    }
}

static void run_seed(const char *settings, bool keeps_order, uint64_t seed)
{
    struct dbk_error err = {0};
    size_t idle = 0;
    random_state = seed;
    ordered = keeps_order;
    assert_ok(set(settings, &err), &err);
    for (size_t i = 0; i < CONSUMERS; i++)
        assert_ok(dbk_group_join(groups, name, &consumers[i], &err), &err);
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        check_parked();
    }
    while (idle < 3) {
        dbk_sim_pass_us(sim, TIMEOUT_US + 1000000);
        size_t count = read_some(0, 50);
        check_parked();
        answer(DBK_GROUP_ACK);
        idle = count == 0 ? idle + 1 : 0;
    }
    for (uint64_t at = 1; at <= last; at++) {
        if (events[at].fate == OPEN)
            fail_msg("position %ju was never done", (uintmax_t)at);
    }
}

static void run(const char *settings, bool keeps_order, void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(settings, keeps_order, seed);
        (void)tear_down(state);
        (void)set_up(state);
    }
}

static void test_group_group__delivers_all_until_it_is_done(void **state)
{
    run("{\"categories\":[\"c\"],\"timeout\":\"2 s\",\"max_retries\":2,\"window\":40}", false,
        state);
}

static void test_group_group__keeps_the_order_of_streams(void **state)
{
    run("{\"categories\":[\"c\"],\"timeout\":\"2 s\",\"max_retries\":2,\"order\":\"stream\"}", true,
        state);
}

static size_t list_parked(void)
{
    struct dbk_error err = {0};
    size_t count = 0;
    check_parked();
    memset(seen, 0, sizeof(seen));
    assert_ok(dbk_group_list_parked(groups, name, see_parked, &count, &err), &err);
    assert_nothing_wrong();
    return count;
}

static void test_group_group__goes_on_after_a_full_disk(void **state)
{
    struct dbk_error err = {0};
    uint64_t position = 1;
    size_t count = 0;
    (void)state;
    ordered = false;
    max_retries = 0;
    append(0);
    append(1);
    assert_ok(set("{\"categories\":[\"c\"],\"timeout\":\"2 s\",\"max_retries\":0}", &err), &err);
    assert_int_equal(read_some(0, 10), 2);
    dbk_sim_fail_at(sim, 1, DBK_SIM_PWRITE, DBK_EFULL, true);
    struct dbk_group_answer parking = {
        .name = name, .action = DBK_GROUP_PARK, .positions = &position, .count = 1, .delay_us = -1};
    assert_int_equal(dbk_group_answer(groups, &parking, &count, &err), DBK_EFULL);
    assert_int_equal(count, 0);
    dbk_sim_pass_us(sim, TIMEOUT_US);
    assert_int_equal(read_some(0, 10), 0); /* both are to be parked, which fails */
    assert_int_equal(list_parked(), 0);
    dbk_sim_fail_at(sim, 0, 0, 0, false);
    dbk_sim_pass_us(sim, TIMEOUT_US);
    assert_int_equal(read_some(0, 10), 0);
    assert_int_equal(list_parked(), 2);
}

static void test_group_group__says_what_a_setting_is(void **state)
{
    static const char *const bad[] = {
        "[]",
        "{\"window\":0}",
        "{\"window\":10001}",
        "{\"window\":\"5\"}",
        "{\"timeout\":\"30\"}",
        "{\"timeout\":30}",
        "{\"timeout\":\"2 days\"}",
        "{\"order\":\"strict\"}",
        "{\"order\":null}",
        "{\"after\":17}",
        "{\"after\":\"then\"}",
        "{\"categories\":\"c\"}",
        "{\"categories\":[1]}",
        "{\"query\":[]}",
        "{\"query\":[{\"tag\":[]}]}",
        "{\"stream_prefix\":\"\"}",
        "{\"max_retries\":-1}",
        "{\"colour\":\"red\"}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct dbk_error err = {0};
        assert_int_equal(set(bad[i], &err), DBK_EINVAL);
        assert_true(strlen(err.message) > 10);
    }
    assert_int_equal(dbk_store_last_position(store), 0); /* and nothing is stored */
}

static int count_status(struct dbk_slice group, const struct dbk_group_status *status,
                        void *context)
{
    char(*text)[64] = context;
    (void)status;
    (void)snprintf(*text + strlen(*text), 64 - strlen(*text), "%.*s ", DBK_SLICE_ARGS(group));
    return DBK_OK;
}

static void test_group_group__is_made_changed_moved_and_forgotten(void **state)
{
    struct dbk_error err = {0};
    char names[64] = "";
    (void)state;
    ordered = false;
    append(0);
    append(1);
    assert_ok(set("{\"categories\":[\"c\"],\"after\":\"now\"}", &err), &err);
    assert_int_equal(read_some(0, 10), 0);
    assert_ok(set("{\"stream_prefix\":\"c-1\",\"after\":0}", &err), &err);
    assert_int_equal(read_some(0, 10), 1);
    assert_true(events[2].leased);
    events[1].leased = false;
    answer_some(DBK_GROUP_PARK, 1);
    assert_int_equal(list_parked(), 1);
    restart(false);
    assert_int_equal(list_parked(), 1);
    assert_ok(set("{\"stream_prefix\":\"c-1\",\"after\":0}", &err), &err);
    assert_int_equal(read_some(0, 10), 0); /* what is parked stays so */
    append(1);
    uint64_t appended = last;
    events[last].leased = true; /* as before the restart */
    answer_some(DBK_GROUP_ACK, 1);
    assert_int_equal(read_some(0, 10), 0);
    assert_ok(dbk_group_list(groups, count_status, &names, &err), &err);
    assert_string_equal(names, "g ");
    assert_ok(dbk_group_remove(groups, name, &err), &err);
    assert_int_equal(dbk_group_remove(groups, name, &err), DBK_ENOTFOUND);
    names[0] = '\0';
    assert_ok(dbk_group_list(groups, count_status, &names, &err), &err);
    assert_string_equal(names, "");
    /* One of the same name begins afresh. */
    events[2] = (struct judged){.fate = OPEN, .stream = 1};
    events[appended] = events[2];
    assert_ok(set("{\"categories\":[\"c\"]}", &err), &err);
    assert_int_equal(list_parked(), 0);
    assert_int_equal(read_some(0, 10), 3);
}

struct racer {
    pthread_t thread;
    _Atomic unsigned *deliveries;
    _Atomic unsigned *done;
};

static int take_racing(const struct dbk_event *event, uint32_t attempt, void *context)
{
    uint64_t *position = context;
    (void)attempt;
    *position = event->position;
    return DBK_OK;
}

#define RACED 600

static void *race(void *context)
{
    struct racer *racer = context;
    while (*racer->done < RACED) {
        struct dbk_error err = {0};
        uint64_t position = 0;
        size_t count = 0;
        struct dbk_group_read read = {.name = name,
                                      .limit = 1,
                                      .timeout_us = 50, /* of a clock that hardly moves */
                                      .each = take_racing,
                                      .context = &position};
        assert_ok(dbk_group_read(groups, &read, &count, &err), &err);
        if (count == 0)
            continue;
        (*racer->deliveries)++;
        struct dbk_group_answer ack = {
            .name = name, .action = DBK_GROUP_ACK, .positions = &position, .count = 1};
        assert_ok(dbk_group_answer(groups, &ack, &count, &err), &err);
        *racer->done += (unsigned)count;
    }
    return NULL;
}

static void test_group_group__gives_each_event_to_one_of_many(void **state)
{
    struct dbk_error err = {0};
    struct racer racers[4];
    _Atomic unsigned deliveries = 0;
    _Atomic unsigned done = 0;
    (void)state;
    assert_ok(set("{\"categories\":[\"c\"],\"order\":\"stream\",\"window\":30}", &err), &err);
    for (size_t i = 0; i < 4; i++) {
        racers[i] = (struct racer){.deliveries = &deliveries, .done = &done};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < RACED; i++)
        append(i % STREAMS);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(racers[i].thread, NULL), 0);
    assert_int_equal(done, RACED);
    assert_int_equal(deliveries, RACED);
}

/* ---- Each allocation fails once ---- */

static bool is_failing(void)
{
    if (allocations_before == UINT64_MAX)
        return false;
    if (allocations_before > 0) {
        allocations_before--;
        return false;
    }
    allocations_before = UINT64_MAX;
    return true;
}

static void *failing_allocate(size_t size)
{
    return is_failing() ? NULL : malloc(size);
}

static void *failing_reallocate(void *memory, size_t size)
{
    return is_failing() ? NULL : realloc(memory, size);
}

static bool delivered[10];

static int note_delivery(const struct dbk_event *event, uint32_t attempt, void *context)
{
    (void)attempt;
    (void)context;
    delivered[event->position] = true;
    return DBK_OK;
}

static int read_noting(size_t limit, size_t *count)
{
    struct dbk_error err = {0};
    return dbk_group_read(
        groups, &(struct dbk_group_read){.name = name, .limit = limit, .each = note_delivery},
        count, &err);
}

static int answer_with(enum dbk_group_action action, uint64_t position)
{
    struct dbk_error err = {0};
    size_t count = 0;
    return dbk_group_answer(groups,
                            &(struct dbk_group_answer){.name = name,
                                                       .action = action,
                                                       .positions = &position,
                                                       .count = 1,
                                                       .reason = dbk_slice_of("because"),
                                                       .delay_us = 0},
                            &count, &err);
}

/* A little of everything; true when an allocation failed in it. */
static bool use_group(void)
{
    static const char settings[] = "{\"categories\":[\"c\"],\"order\":\"none\"}";
    struct dbk_error err = {0};
    size_t count = 0;
    const int results[] = {
        set(settings, &err),
        read_noting(4, &count),
        delivered[1] ? answer_with(DBK_GROUP_ACK, 1) : DBK_OK,
        answer_with(DBK_GROUP_RETRY, 2),
        answer_with(DBK_GROUP_PARK, 3),
        answer_with(DBK_GROUP_PARK, 4),
        dbk_group_unpark(groups, name, true, NULL, 0, &count, &err),
        read_noting(4, &count),
    };
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
        assert_true(results[i] >= 0 || results[i] == DBK_ENOMEM || results[i] == DBK_ENOTFOUND);
    bool reached = allocations_before == UINT64_MAX;
    allocations_before = UINT64_MAX;
    assert_ok(set(settings, &err), &err);
    return reached;
}

static void test_group_group__survives_every_failing_allocation(void **state)
{
    bool reached = true;
    dbk_set_allocator(&(struct dbk_allocator){failing_allocate, failing_reallocate, free});
    for (uint64_t at = 0; reached; at++) {
        struct dbk_error err = {0};
        size_t count = 1;
        memset(delivered, 0, sizeof(delivered));
        for (unsigned i = 0; i < 6; i++)
            append(i % STREAMS);
        allocations_before = at;
        reached = use_group();
        assert_ok(dbk_group_unpark(groups, name, true, NULL, 0, &count, &err), &err);
        for (count = 1; count > 0;) {
            dbk_sim_pass_us(sim, 60000000);
            assert_int_equal(read_noting(10, &count), DBK_OK);
            for (uint64_t position = 1; position <= 6; position++) {
                if (delivered[position])
                    assert_int_equal(answer_with(DBK_GROUP_ACK, position), DBK_OK);
            }
        }
        for (uint64_t position = 1; position <= 6; position++)
            assert_true(delivered[position]);
        (void)tear_down(state);
        (void)set_up(state);
    }
    dbk_set_allocator(&(struct dbk_allocator){malloc, realloc, free});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_group_group__##name, set_up, tear_down)
        TEST(delivers_all_until_it_is_done),       TEST(keeps_the_order_of_streams),
        TEST(goes_on_after_a_full_disk),           TEST(says_what_a_setting_is),
        TEST(is_made_changed_moved_and_forgotten), TEST(gives_each_event_to_one_of_many),
        TEST(survives_every_failing_allocation),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
