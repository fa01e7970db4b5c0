/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is promised: steps that were done are undone in reverse order, one after the other; tries
 * wait twice as long each time up to the maximum and carry one key; what cannot be taken is parked
 * and taken again in order. The record goes through its JSON between all inputs.
 */
#include "test.h"

#include <string.h>

#include "saga/machine.h"

static const char source[] =
    "local by = function(d) return d.id end\n"
    "local key = function(s) return s.id end\n"
    "local function one(name, following)\n"
    "    return { send = function(s, key) return command(name, { key = key }) end,\n"
    "        undo = function(s, key, why) return command('un' .. name, { why = why }) end,\n"
    "        timeout = '10 s', retry = { tries = 4, delay = '1 s', max = '3 s' }, key = key,\n"
    "        after = function(s, reply)\n"
    "            if reply == 'bad' then error('bad reply') end\n"
    "            s[name] = reply\n"
    "            if following then return s, step(following) end\n"
    "            return s, complete()\n"
    "        end }\n"
    "end\n"
    "return { unmatched = 'wait', on = {\n"
    "        Begun = { by = by, starts = true, run = function(_, d)\n"
    "            return { id = d.id }, step('a') end },\n"
    "        Noted = { by = by, run = function(s, d) s.n = (s.n or '') .. d.n return s end } },\n"
    "    steps = { a = one('a', 'b'), b = one('b', 'c'), c = one('c') } }\n";

struct world {
    struct dbk_saga_script *script;
    struct dbk_json *json;
    struct dbk_arena arena;
    char record[8192];
    int64_t now_us;
    uint64_t position;
    struct dbk_event events[16]; /* by position */
};

static bool take_lock(void *context, struct dbk_slice lock)
{
    (void)context;
    (void)lock;
    return true;
}

static int load(void *context, uint64_t position, const struct dbk_event **event_out,
                struct dbk_error *err)
{
    struct world *world = context;
    (void)err;
    *event_out = &world->events[position];
    return 1;
}

static void read_record(struct world *world, struct dbk_saga_record *record)
{
    struct dbk_error err = {0};
    *record = (struct dbk_saga_record){0};
    if (world->record[0] != '\0')
        assert_ok(dbk_saga_record_read(world->json, dbk_slice_of(world->record), &world->arena,
                                       record, &err),
                  &err);
}

/* Applies an input to the record's text; one that fails parks it. */
static int apply(struct world *world, const struct dbk_saga_input *input)
{
    struct dbk_saga_record record;
    struct dbk_error why = {0};
    struct dbk_buf out;
    struct dbk_saga_machine machine = {.script = world->script,
                                       .json = world->json,
                                       .arena = &world->arena,
                                       .now_us = world->now_us,
                                       .position = world->position,
                                       .name = DBK_SLICE_LITERAL("s"),
                                       .take_lock = take_lock,
                                       .load = load,
                                       .context = world};
    read_record(world, &record);
    int rc = dbk_saga_apply(&machine, &record, input, &why);
    if (rc < 0) {
        read_record(world, &record);
        assert_int_equal(dbk_saga_park(&machine, &record, input, &why, NULL), DBK_OK);
    }
    if (rc == 0)
        return 0;
    dbk_buf_init(&out, sizeof(world->record) - 1);
    dbk_saga_record_write(&record, machine.on, &out);
    assert_int_equal(out.rc, DBK_OK);
    memcpy(world->record, out.data, out.size);
    world->record[out.size] = '\0';
    dbk_buf_release(&out);
    return rc;
}

static int event(struct world *world, const char *type, const char *data)
{
    struct dbk_event *at = &world->events[++world->position];
    *at = (struct dbk_event){.position = world->position,
                             .version = 1,
                             .stream = DBK_SLICE_LITERAL("x-1"),
                             .type = dbk_slice_of(type),
                             .data = dbk_slice_of(data),
                             .flags = DBK_RECORD_JSON};
    return apply(world,
                 &(struct dbk_saga_input){.kind = DBK_SAGA_EVENT,
                                          .event = at,
                                          .route = dbk_saga_script_route(world->script, at->type)});
}

static int outcome(struct world *world, size_t step, bool undo, enum dbk_saga_outcome what,
                   const char *reply)
{
    struct dbk_saga_record record;
    read_record(world, &record);
    return apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_OUTCOME,
                                                 .step = step,
                                                 .attempt = record.steps[step].attempt,
                                                 .undo = undo,
                                                 .outcome = what,
                                                 .reply = dbk_slice_of(reply),
                                                 .why = DBK_SLICE_LITERAL("why")});
}

/* Steps as "a done, b sent". */
static void expect(struct world *world, const char *status, const char *steps)
{
    struct dbk_saga_record record;
    char text[256] = "";
    size_t size = 0;
    read_record(world, &record);
    for (size_t i = 0; i < record.step_count; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%.*s %s", i == 0 ? "" : ", ",
                                 DBK_SLICE_ARGS(record.steps[i].name),
                                 dbk_saga_phase_name(record.steps[i].phase));
    assert_string_equal(
        dbk_saga_is_parked(&record) ? "parked" : dbk_saga_status_name(record.status), status);
    assert_string_equal(text, steps);
}

static int set_up(void **state)
{
    static struct world world;
    struct dbk_error err = {0};
    world = (struct world){.now_us = 1000000, .json = dbk_json_create(1 << 20)};
    dbk_arena_init(&world.arena, (size_t)64 << 20);
    assert_ok(dbk_saga_script_open("sagas/s.lua", dbk_slice_of(source), &world.script, &err), &err);
    *state = &world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    dbk_saga_script_free(world->script);
    dbk_json_free(world->json);
    dbk_arena_release(&world->arena);
    return 0;
}

static void test_saga_machine__what_was_done_is_undone_in_reverse_order(void **state)
{
    struct world *world = *state;
    assert_int_equal(event(world, "Begun", "{\"id\":\"1\"}"), 1);
    assert_int_equal(event(world, "Begun", "{\"id\":\"1\"}"), 0); /* a second time */
    assert_int_equal(outcome(world, 0, false, DBK_SAGA_SUCCEEDED, "1"), 1);
    assert_int_equal(outcome(world, 1, false, DBK_SAGA_SUCCEEDED, "2"), 1);
    expect(world, "running", "a done, b done, c sent");
    assert_int_equal(outcome(world, 2, false, DBK_SAGA_REFUSED, NULL), 1);
    expect(world, "compensating", "a done, b undoing, c failed");
    assert_int_equal(outcome(world, 1, false, DBK_SAGA_SUCCEEDED, "2"), 0); /* late */
    assert_int_equal(outcome(world, 1, true, DBK_SAGA_SUCCEEDED, NULL), 1);
    expect(world, "compensating", "a undoing, b undone, c failed");
    assert_int_equal(outcome(world, 0, true, DBK_SAGA_SUCCEEDED, NULL), 1);
    expect(world, "compensated", "a undone, b undone, c failed");
    assert_int_equal(event(world, "Noted", "{\"id\":\"1\",\"n\":\"x\"}"), 0);
}

static void test_saga_machine__tries_wait_longer_and_an_unknown_outcome_is_undone(void **state)
{
    static const int64_t waits_us[] = {1000000, 2000000, 3000000}; /* the last is `max` */
    struct world *world = *state;
    struct dbk_saga_record record;
    assert_int_equal(event(world, "Begun", "{\"id\":\"1\"}"), 1);
    for (size_t i = 0; i < 3; i++) {
        read_record(world, &record);
        assert_int_equal(record.steps[0].attempt, i + 1);
        assert_non_null(strstr(record.steps[0].call.data, "\"key\":\"s/a/1\""));
        assert_int_equal(outcome(world, 0, false, DBK_SAGA_AGAIN, NULL), 1);
        expect(world, "running", "a paused");
        read_record(world, &record);
        assert_int_equal(dbk_saga_due_us(&record), world->now_us + waits_us[i]);
        assert_int_equal(apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_TIME}), 0);
        world->now_us += waits_us[i];
        assert_int_equal(apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_TIME}), 1);
    }
    assert_int_equal(outcome(world, 0, false, DBK_SAGA_AGAIN, NULL), 1);
    expect(world, "compensating", "a undoing");
    /* Its way back is refused for good: it waits for someone. */
    assert_int_equal(outcome(world, 0, true, DBK_SAGA_REFUSED, NULL), 1);
    expect(world, "parked", "a undoing");
    assert_int_equal(apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_RETRY}), 1);
    expect(world, "compensating", "a undoing");
    assert_int_equal(outcome(world, 0, true, DBK_SAGA_REFUSED, NULL), 1);
    assert_int_equal(apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_CANCEL,
                                                           .why = DBK_SLICE_LITERAL("me")}),
                     1);
    expect(world, "compensated", "a kept");
}

static void test_saga_machine__what_cannot_be_taken_is_parked_and_the_rest_follows(void **state)
{
    struct world *world = *state;
    struct dbk_saga_record record;
    assert_int_equal(event(world, "Noted", "{\"id\":\"1\",\"n\":\"x\"}"), 1); /* too early */
    expect(world, "waiting", "");
    assert_int_equal(event(world, "Begun", "{\"id\":\"1\"}"), 1);
    read_record(world, &record);
    assert_int_equal(dbk_saga_due_us(&record), 0); /* at once */
    assert_int_equal(apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_TIME}), 1);
    assert_int_equal(outcome(world, 0, false, DBK_SAGA_SUCCEEDED, "\"bad\""), DBK_ESCRIPT);
    expect(world, "parked", "a sent");
    read_record(world, &record);
    assert_string_equal(record.fault.data == NULL ? "" : record.fault.data,
                        "sagas/s.lua:8: bad reply");
    assert_int_equal(event(world, "Noted", "{\"id\":\"1\",\"n\":\"y\"}"), 1);
    assert_int_equal(event(world, "Noted", "{\"id\":\"1\",\"n\":\"z\"}"), 1);
    assert_int_equal(apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_RETRY}), DBK_ESCRIPT);
    expect(world, "parked", "a sent");
    assert_int_equal(apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_CANCEL,
                                                           .why = DBK_SLICE_LITERAL("me")}),
                     1);
    expect(world, "compensating", "a sent");
    assert_int_equal(apply(world, &(struct dbk_saga_input){.kind = DBK_SAGA_TIME}), 1);
    assert_int_equal(outcome(world, 0, false, DBK_SAGA_SUCCEEDED, "1"), 1);
    expect(world, "compensating", "a undoing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_saga_machine__what_was_done_is_undone_in_reverse_order,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_saga_machine__tries_wait_longer_and_an_unknown_outcome_is_undone, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(
            test_saga_machine__what_cannot_be_taken_is_parked_and_the_rest_follows, set_up,
            tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
