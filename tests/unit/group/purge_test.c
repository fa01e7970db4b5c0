/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purge_test -- what is forgotten goes from groups: parked events, and the reasons that quote them,
 * out of the history and (by compaction) out of the files; nothing else does. With a call failing
 * at every step, and groups that were removed.
 */
#include "test.h"

#include "base/memory.h"
#include "group/group.h"
#include "os/sim.h"

#define EVENTS 30

static struct dbk_sim *sim;
static struct dbk_store *store;
static struct dbk_groups *groups;

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
                                                         .segment_size = 2000,
                                                         .chunk_events = 64},
                             &store, &err),
              &err);
    assert_ok(dbk_groups_open(store, dbk_sim_os(sim), true, append_to, NULL, &groups, &err), &err);
}

static void close_all(void)
{
    dbk_groups_free(groups);
    dbk_store_free(store);
}

static void append(const char *stream)
{
    struct dbk_error err = {0};
    struct dbk_append_result result;
    struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                  .type = DBK_SLICE_LITERAL("Happened"),
                                  .data = DBK_SLICE_LITERAL("{}"),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    assert_ok(
        dbk_store_append(store, &(struct dbk_batch){.events = &event, .count = 1}, &result, &err),
        &err);
}

static void make_group(const char *name)
{
    struct dbk_error err = {0};
    const struct dbk_json_node *root = NULL;
    bool created = false;
    struct dbk_json *json = dbk_json_create(1000);
    assert_ok(dbk_json_parse(json, DBK_SLICE_LITERAL("{\"categories\":[\"c\"]}"), &root, &err),
              &err);
    assert_ok(dbk_group_set(groups, dbk_slice_of(name), root, &created, &err), &err);
    dbk_json_free(json);
}

static int lease(const struct dbk_event *event, uint32_t attempt, void *context)
{
    (void)attempt;
    ((uint64_t *)context)[event->position] = event->position;
    return DBK_OK;
}

/* Parks all of the category's events, each for a reason that quotes its position. */
static void park_all(const char *name)
{
    struct dbk_error err = {0};
    uint64_t leased[EVENTS * 10] = {0};
    size_t count = 0;
    assert_ok(dbk_group_read(groups,
                             &(struct dbk_group_read){.name = dbk_slice_of(name),
                                                      .limit = EVENTS,
                                                      .each = lease,
                                                      .context = leased},
                             &count, &err),
              &err);
    assert_int_equal(count, EVENTS);
    for (size_t i = 0; i < sizeof(leased) / sizeof(leased[0]); i++) {
        char reason[40];
        if (leased[i] == 0)
            continue;
        (void)snprintf(reason, sizeof(reason), "%s: quoted %03ju!", name, (uintmax_t)leased[i]);
        assert_ok(dbk_group_answer(groups,
                                   &(struct dbk_group_answer){.name = dbk_slice_of(name),
                                                              .action = DBK_GROUP_PARK,
                                                              .positions = &leased[i],
                                                              .count = 1,
                                                              .reason = dbk_slice_of(reason),
                                                              .delay_us = -1},
                                   &count, &err),
                  &err);
    }
}

static int set_up(void **state)
{
    (void)state;
    sim = dbk_sim_create(4);
    open_all();
    for (int i = 0; i < EVENTS; i++)
        append("c-1");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_all();
    dbk_sim_free(sim);
    return 0;
}

static int every_third(void *context, uint64_t position, struct dbk_error *err)
{
    (void)context;
    (void)err;
    return position % 3 == 0;
}

static int purge(struct dbk_group_purged *purged, struct dbk_error *err)
{
    return dbk_groups_purge(groups, &(struct dbk_group_purge){every_third, NULL}, purged, err);
}

static int see(const struct dbk_group_parked *parked, void *context)
{
    char reason[40];
    uint64_t *count = context;
    (void)snprintf(reason, sizeof(reason), "g: quoted %03ju!", (uintmax_t)parked->position);
    if (parked->position % 3 == 0 || !dbk_slice_equal_text(parked->reason, reason) ||
        parked->attempts != 1)
        return DBK_ECORRUPT;
    (*count)++;
    return DBK_OK;
}

static void check_rest(void)
{
    struct dbk_error err = {0};
    uint64_t count = 0;
    assert_ok(dbk_group_list_parked(groups, DBK_SLICE_LITERAL("g"), see, &count, &err), &err);
    assert_int_equal(count, EVENTS - EVENTS / 3);
}

static bool is_in_files(const char *text)
{
    size_t size = strlen(text);
    for (uint64_t first = 1; first <= dbk_store_last_position(store) + 1; first++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "data/log/%020ju.seg", (uintmax_t)first);
        struct dbk_slice file = dbk_sim_file(sim, path);
        for (size_t i = 0; i + size <= file.size; i++) {
            if (memcmp(file.data + i, text, size) == 0)
                return true;
        }
    }
    return false;
}

static void compact(void)
{
    struct dbk_error err = {0};
    struct dbk_store_compacted compacted;
    dbk_store_seal(store);
    append("d-1");
    assert_ok(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err), &err);
}

static void test_group_purge__takes_what_is_forgotten_and_no_more(void **state)
{
    struct dbk_error err = {0};
    struct dbk_group_purged purged;
    (void)state;
    make_group("g");
    park_all("g");
    assert_true(is_in_files("g: quoted 003!"));
    assert_ok(purge(&purged, &err), &err);
    assert_int_equal(purged.groups, 1);
    assert_int_equal(purged.parked, EVENTS / 3);
    check_rest();
    compact();
    for (uint64_t position = 1; position <= EVENTS; position++) {
        char reason[40];
        (void)snprintf(reason, sizeof(reason), "g: quoted %03ju!", (uintmax_t)position);
        assert_int_equal(is_in_files(reason), position % 3 != 0);
    }
    uint64_t last = dbk_store_last_position(store);
    assert_ok(purge(&purged, &err), &err);
    assert_int_equal(purged.groups, 0);
    assert_int_equal(dbk_store_last_position(store), last); /* nothing to do, nothing written */
    close_all();
    open_all();
    check_rest();
}

static void test_group_purge__reaches_groups_that_were_removed(void **state)
{
    struct dbk_error err = {0};
    struct dbk_group_purged purged;
    (void)state;
    make_group("old");
    park_all("old");
    assert_ok(dbk_group_remove(groups, DBK_SLICE_LITERAL("old"), &err), &err);
    make_group("g");
    park_all("g");
    assert_ok(purge(&purged, &err), &err);
    assert_int_equal(purged.groups, 2);
    assert_int_equal(purged.parked, EVENTS / 3);
    check_rest();
    compact();
    assert_false(is_in_files("old: quoted"));
    assert_true(is_in_files("g: quoted 001!"));
}

static void test_group_purge__goes_on_after_any_failing_call(void **state)
{
    (void)state;
    make_group("g");
    park_all("g");
    int rc = DBK_EFULL;
    for (uint64_t at = 1; rc != DBK_OK; at++) {
        struct dbk_error err = {0};
        struct dbk_group_purged purged;
        dbk_sim_fail_at(sim, at, DBK_SIM_PWRITE, DBK_EFULL, true);
        rc = purge(&purged, &err);
        dbk_sim_fail_at(sim, 0, 0, 0, false);
        assert_true(rc == DBK_OK || rc == DBK_EFULL);
        if (at % 2 == 0) {
            close_all();
            open_all();
        }
    }
    check_rest();
    compact();
    assert_false(is_in_files("g: quoted 003!"));
    assert_true(is_in_files("g: quoted 001!"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_group_purge__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(takes_what_is_forgotten_and_no_more),
        TEST(reaches_groups_that_were_removed),
        TEST(goes_on_after_any_failing_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
