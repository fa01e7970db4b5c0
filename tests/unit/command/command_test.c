/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_test -- what is decided is appended at the version it was decided at, a repeated key
 * answers as the first time whoever comes between, and what goes wrong is named. Rivals append from
 * within the append, so that conflicts come at a chosen moment.
 */
#include "test.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "command/command.h"
#include "os/sim.h"

#define SIZE_MAX_READ ((size_t)1 << 20)
#define THREADS 8

static const char fold[] = "return { initial = { balance = 0 }, snapshot = { every = 1 }, on = {\n"
                           "Added = function(s, d) s.balance = s.balance + d.n end,\n"
                           "Taken = function(s, d) s.balance = s.balance - d.n end } }";
static const char take[] =
    "return { stream = function(c) return 'a-' .. c.id end,\n"
    "decide = function(s, c, stream)\n"
    "  if s.balance < c.n then return refuse('short', 'the balance is ' .. s.balance) end\n"
    "  return event('Taken', { n = c.n }) end }";

struct fixture {
    struct dbk_sim *sim;
    struct dbk_store *store;
    struct dbk_folds *folds;
    struct dbk_commands *commands;
    int rivals;                           /* appends that another event comes before */
    const struct dbk_command *rival_does; /* and then, once, this command */
    struct dbk_buf events;
    struct dbk_command_result result;
    struct dbk_error err;
};

static void add_event(struct fixture *fixture, const char *stream, const char *type, int n)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char data[40];
    (void)snprintf(data, sizeof(data), "{\"n\":%d}", n);
    struct dbk_new_event event = {.stream = dbk_slice_of(stream),
                                  .type = dbk_slice_of(type),
                                  .data = dbk_slice_of(data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    assert_ok(dbk_store_append(fixture->store, &(struct dbk_batch){.events = &event, .count = 1},
                               &result, &err),
              &err);
}

static int append_behind_rivals(void *context, const struct dbk_batch *batch,
                                struct dbk_append_result *result, struct dbk_error *err)
{
    struct fixture *fixture = context;
    if (fixture->rivals > 0) {
        fixture->rivals--;
        add_event(fixture, "a-1", "Added", 1);
    }
    if (fixture->rival_does != NULL) {
        struct dbk_buf events;
        struct dbk_command_result answer;
        struct dbk_error failure = {0};
        const struct dbk_command *command = fixture->rival_does;
        fixture->rival_does = NULL;
        dbk_buf_init(&events, SIZE_MAX_READ);
        assert_ok(dbk_command_do(fixture->commands, command, &events, &answer, &failure), &failure);
        assert_false(answer.known);
        dbk_buf_release(&events);
    }
    return dbk_store_append(fixture->store, batch, result, err);
}

static void define(struct fixture *fixture, const char *name, const char *source)
{
    char file[60];
    (void)snprintf(file, sizeof(file), "commands/%s.lua", name);
    assert_ok(dbk_commands_add(fixture->commands, name, file, dbk_slice_of(source), &fixture->err),
              &fixture->err);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.sim = dbk_sim_create(11)};
    dbk_buf_init(&fixture.events, SIZE_MAX_READ);
    assert_ok(dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(fixture.sim),
                                                         .folder = "d",
                                                         .writer = true,
                                                         .holder = "a test"},
                             &fixture.store, &fixture.err),
              &fixture.err);
    assert_ok(dbk_folds_open(fixture.store, dbk_sim_os(fixture.sim), NULL, false, &fixture.folds,
                             &fixture.err),
              &fixture.err);
    assert_ok(dbk_folds_add(fixture.folds, DBK_SLICE_LITERAL("a"), "folds/a.lua",
                            dbk_slice_of(fold), &fixture.err),
              &fixture.err);
    assert_ok(dbk_commands_open(fixture.store, fixture.folds, append_behind_rivals, &fixture,
                                &fixture.commands, &fixture.err),
              &fixture.err);
    define(&fixture, "Take", take);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    dbk_commands_free(fixture->commands);
    dbk_folds_free(fixture->folds);
    dbk_store_free(fixture->store);
    dbk_sim_free(fixture->sim);
    dbk_buf_release(&fixture->events);
    return 0;
}

static int run(struct fixture *fixture, const struct dbk_command *command)
{
    dbk_buf_reset(&fixture->events);
    fixture->err = (struct dbk_error){0};
    return dbk_command_do(fixture->commands, command, &fixture->events, &fixture->result,
                          &fixture->err);
}

static struct dbk_command command_of(const char *name, const char *body, const char *key)
{
    return (struct dbk_command){.name = dbk_slice_of(name),
                                .body = dbk_slice_of(body),
                                .idempotency_key = dbk_slice_of(key)};
}

static int do_it(struct fixture *fixture, const char *name, const char *body, const char *key)
{
    struct dbk_command command = command_of(name, body, key);
    return run(fixture, &command);
}

static void test_command_command__appends_what_was_decided(void **state)
{
    struct fixture *fixture = *state;
    add_event(fixture, "a-1", "Added", 10);
    assert_ok(do_it(fixture, "Take", "{\"id\":1,\"n\":4}", ""), &fixture->err);
    assert_slice_equal(dbk_buf_slice(&fixture->events),
                       "[{\"type\":\"Taken\",\"data\":{\"n\":4}}]");
    assert_string_equal(fixture->result.stream, "a-1");
    assert_int_equal(fixture->result.version, 2);
    assert_int_equal(fixture->result.first_position, 2);
    assert_int_equal(fixture->result.last_position, 2);
    assert_int_equal(fixture->result.event_count, 1);
    assert_int_equal(fixture->result.tries, 1);
    assert_false(fixture->result.known);
}

static void test_command_command__refuses_and_appends_nothing(void **state)
{
    struct fixture *fixture = *state;
    add_event(fixture, "a-1", "Added", 3);
    assert_int_equal(do_it(fixture, "Take", "{\"id\":1,\"n\":4}", ""), DBK_EREFUSED);
    assert_string_equal(fixture->result.refusal, "short");
    assert_string_equal(fixture->err.message, "the balance is 3");
    assert_int_equal(fixture->result.version, 1);
    assert_int_equal(fixture->events.size, 0);
    assert_int_equal(dbk_store_last_position(fixture->store), 1);
}

static void test_command_command__a_dry_run_appends_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_command command = command_of("Take", "{\"id\":1,\"n\":0}", "k");
    command.dry_run = true;
    assert_ok(run(fixture, &command), &fixture->err);
    assert_int_equal(fixture->result.event_count, 1);
    assert_int_equal(fixture->result.first_position, 0);
    assert_int_equal(dbk_store_last_position(fixture->store), 0);
}

static void test_command_command__decides_again_on_a_conflict(void **state)
{
    struct fixture *fixture = *state;
    add_event(fixture, "a-1", "Added", 3);
    for (int rivals = 0; rivals < DBK_COMMAND_TRIES; rivals++) {
        fixture->rivals = rivals;
        assert_ok(do_it(fixture, "Take", "{\"id\":1,\"n\":1}", ""), &fixture->err);
        assert_int_equal(fixture->result.tries, rivals + 1);
        assert_int_equal(fixture->err.code, DBK_OK); /* nothing is said of conflicts got over */
        assert_slice_equal(dbk_buf_slice(&fixture->events),
                           "[{\"type\":\"Taken\",\"data\":{\"n\":1}}]");
    }
    fixture->rivals = DBK_COMMAND_TRIES;
    assert_int_equal(do_it(fixture, "Take", "{\"id\":1,\"n\":1}", ""), DBK_ECONFLICT);
    assert_int_equal(fixture->result.tries, DBK_COMMAND_TRIES);
    assert_true(fixture->err.message[0] != 0);
    assert_int_equal(fixture->events.size, 0);
}

static void test_command_command__a_repeated_key_answers_as_the_first_time(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_buf first;
    struct dbk_command_result result;
    dbk_buf_init(&first, SIZE_MAX_READ);
    define(fixture, "Many",
           "return { stream = function() return 'a-1' end, decide = function() return {\n"
           "event('Added', { n = 1 }), event('Added', { n = 2 }, { stream = 'b-1' }),\n"
           "event('Noted', { n = 3 }, { stream = 'c-1' }) } end }");
    add_event(fixture, "a-1", "Added", 10);
    assert_ok(do_it(fixture, "Many", "{}", "key"), &fixture->err);
    result = fixture->result;
    dbk_buf_append(&first, dbk_buf_slice(&fixture->events));
    assert_int_equal(result.version, 2);
    assert_int_equal(result.event_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_ok(do_it(fixture, "Many", "{}", "key"), &fixture->err);
        assert_true(fixture->result.known);
        assert_true(dbk_slice_equal(dbk_buf_slice(&first), dbk_buf_slice(&fixture->events)));
        assert_string_equal(fixture->result.stream, result.stream);
        assert_int_equal(fixture->result.version, result.version);
        assert_int_equal(fixture->result.first_position, result.first_position);
        assert_int_equal(fixture->result.last_position, result.last_position);
        assert_int_equal(fixture->result.event_count, result.event_count);
        add_event(fixture, "a-1", "Added", 10); /* what comes later changes nothing */
    }
    assert_ok(do_it(fixture, "Many", "{}", "other"), &fixture->err);
    assert_false(fixture->result.known);
    assert_ok(do_it(fixture, "Take", "{\"id\":1,\"n\":1}", "key"), &fixture->err);
    assert_false(fixture->result.known);
    dbk_buf_release(&first);
}

static void test_command_command__a_key_with_another_body_is_a_conflict(void **state)
{
    struct fixture *fixture = *state;
    add_event(fixture, "a-1", "Added", 10);
    assert_ok(do_it(fixture, "Take", "{\"id\":1,\"n\":1}", "key"), &fixture->err);
    assert_int_equal(do_it(fixture, "Take", "{\"id\":1,\"n\":2}", "key"), DBK_ECONFLICT);
    assert_non_null(strstr(fixture->err.message, "the idempotency key was used for another Take"));
    assert_int_equal(fixture->events.size, 0);
    assert_int_equal(dbk_store_last_position(fixture->store), 2);
}

/*
 * The same request, sent twice: the second is stored while the first is about to append, and an
 * event before it lets both decide differently. The first conflicts; deciding again it would find
 * the balance short.
 */
static void test_command_command__a_key_is_known_also_when_its_rival_was_faster(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_command command = command_of("Leave", "{\"id\":1,\"n\":8}", "key");
    define(fixture, "Leave",
           "return { stream = function(c) return 'a-' .. c.id end, decide = function(s, c)\n"
           "if s.balance < c.n then return refuse('short', 'short') end\n"
           "return event('Taken', { n = c.n, left = s.balance - c.n }) end }");
    add_event(fixture, "a-1", "Added", 10);
    fixture->rivals = 1;
    fixture->rival_does = &command;
    assert_ok(run(fixture, &command), &fixture->err);
    assert_true(fixture->result.known);
    assert_string_equal(fixture->result.refusal, "");
    assert_int_equal(fixture->result.version, 3);
    assert_slice_equal(dbk_buf_slice(&fixture->events),
                       "[{\"type\":\"Taken\",\"data\":{\"left\":3,\"n\":8}}]");
    assert_int_equal(dbk_store_last_position(fixture->store), 3);
}

struct taker {
    pthread_t thread;
    struct fixture *fixture;
    int rc;
    bool known;
};

static void *take_once(void *context)
{
    struct taker *taker = context;
    struct dbk_command command = command_of("Take", "{\"id\":1,\"n\":8}", "key");
    struct dbk_command_result result;
    struct dbk_buf events;
    dbk_buf_init(&events, SIZE_MAX_READ);
    taker->rc = dbk_command_do(taker->fixture->commands, &command, &events, &result, NULL);
    taker->known = result.known;
    dbk_buf_release(&events);
    return NULL;
}

/* There is enough for one of them: none may be told that it is short. */
static void test_command_command__one_key_from_many_threads_happens_once(void **state)
{
    struct fixture *fixture = *state;
    for (uint64_t round = 1; round <= 100; round++) {
        struct taker takers[THREADS] = {{0}};
        int known = 0;
        (void)tear_down(state);
        (void)set_up(state);
        add_event(fixture, "a-1", "Added", 10);
        for (int i = 0; i < THREADS; i++) {
            takers[i].fixture = fixture;
            assert_int_equal(pthread_create(&takers[i].thread, NULL, take_once, &takers[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            (void)pthread_join(takers[i].thread, NULL);
            known += takers[i].known;
        }
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(takers[i].rc, DBK_OK);
        assert_int_equal(known, THREADS - 1);
        assert_int_equal(dbk_store_last_position(fixture->store), 2);
    }
}

/* Events' meta, as one text with a blank between. */
static void read_meta(struct fixture *fixture, struct dbk_buf *out)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    struct dbk_error err = {0};
    int rc = dbk_cursor_open(fixture->store, &(struct dbk_filter){0}, &cursor, &err);
    assert_ok(rc, &err);
    while ((rc = dbk_cursor_next(cursor, &event, &err)) == 1) {
        dbk_buf_append(out, event.meta);
        dbk_buf_append_char(out, ' ');
    }
    assert_ok(rc, &err);
    dbk_cursor_free(cursor);
}

static void test_command_command__meta_of_request_event_and_key_are_one_object(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_buf meta;
    dbk_buf_init(&meta, SIZE_MAX_READ);
    define(fixture, "Note",
           "return { stream = function() return 'n-1' end, decide = function() return {\n"
           "event('Noted', {}, { meta = { who = 'event', own = 1, commandhash = 'false' } }),\n"
           "event('Noted', {}) } end }");
    struct dbk_command command = command_of("Note", "{}", "k");
    command.meta = DBK_SLICE_LITERAL(" { \"who\" : \"request\", \"command\":\"no\" } ");
    assert_ok(run(fixture, &command), &fixture->err);
    read_meta(fixture, &meta);
    assert_slice_equal(dbk_buf_slice(&meta),
                       "{\"command\":\"Note\",\"commandhash\":\"44136fa355b3678a1146ad16f7e8649e\","
                       "\"who\":\"request\",\"own\":1} "
                       "{\"who\":\"request\",\"command\":\"no\"} ");
    assert_ok(run(fixture, &command), &fixture->err);
    assert_true(fixture->result.known);
    dbk_buf_reset(&meta);
    for (size_t i = 0; i < 3; i++) {
        static const char *const bad[] = {"[1]", "{\"a\":1,\"a\":2}", "x"};
        command.meta = dbk_slice_of(bad[i]);
        command.idempotency_key = (struct dbk_slice){0};
        assert_int_equal(run(fixture, &command), DBK_EINVAL);
        assert_non_null(strstr(fixture->err.message, "meta"));
    }
    assert_int_equal(dbk_store_last_position(fixture->store), 2);
    dbk_buf_release(&meta);
}

static void test_command_command__options_go_into_the_event(void **state)
{
    struct fixture *fixture = *state;
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    define(fixture, "Note",
           "return { stream = function() return 'n-1' end, decide = function(s, c, stream)\n"
           "return event('Noted', { at = stream.name, v = stream.version, d = c.d, l = c.l },\n"
           "{ tags = { 'x', 'y' }, occurred = '2026-11-24T08:00:00Z', stream = 'n-2' }) end }");
    assert_ok(do_it(fixture, "Note", "{\"d\":0.10,\"l\":[]}", ""), &fixture->err);
    assert_int_equal(fixture->result.version, 0); /* of n-1, which has no event */
    assert_ok(dbk_cursor_open(fixture->store, &(struct dbk_filter){0}, &cursor, &fixture->err),
              &fixture->err);
    assert_int_equal(dbk_cursor_next(cursor, &event, &fixture->err), 1);
    assert_slice_equal(event.stream, "n-2");
    assert_slice_equal(event.data, "{\"at\":\"n-1\",\"d\":0.1,\"l\":[],\"v\":0}");
    assert_slice_equal(event.tags, "\x01x\x01y");
    assert_slice_equal(event.meta, "");
    assert_int_equal(event.occurred_us, INT64_C(1795507200000000));
    dbk_cursor_free(cursor);
}

static void test_command_command__names_what_a_script_does_wrong(void **state)
{
    static const char *const cases[][2] = {
        {"return 5", "`decide` returns event("},
        {"return { 5 }", "event 1: `decide` returns event("},
        {"return", "`decide` returns event("},
        {"return event(5)", "commands/C.lua:2: event: its data is missing"},
        {"return event('T')", "event: its data is missing"},
        {"return event('T', { f = event })", "f: a function cannot be JSON"},
        {"return { event('T', {}), event('T', {}, { tag = 1 }) }",
         "event 2: options are stream, tags, meta and occurred"},
        {"return event('T', {}, { occurred = 'today' })", "occurred must be an instant"},
        {"return event('T', {}, { tags = { 1 } })", "tags must be a list of texts"},
        {"return event('T', {}, { meta = 'x' })", "meta must be a table"},
        {"return event('T', {}, { stream = 1 })", "stream must be a text"},
        {"local e = event('T', {}) e.type = nil return e", "event 1: its type must be a text"},
        {"local r = refuse('a', 'b') r.text = nil return r", "code and text must be texts"},
        {"return refuse('', 'why')", "bad argument #1 to 'refuse'"},
        {"return refuse('x')", "bad argument #2 to 'refuse'"},
        {"return refuse('x', '\\xff')", "bad argument #2 to 'refuse'"},
        {"error('x')", "commands/C.lua:2: x"},
        {"while true do end", "commands/C.lua:2: it used up its instructions"},
        {"return s.x.y", "commands/C.lua:2: attempt to index"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char source[400];
        (void)tear_down(state);
        (void)set_up(state);
        (void)snprintf(source, sizeof(source),
                       "return { stream = function() return 'n-1' end, decide = function(s, c)\n"
                       "%s\nend }",
                       cases[i][0]);
        define(fixture, "C", source);
        int rc = do_it(fixture, "C", "{}", "");
        if (rc != DBK_ESCRIPT || strstr(fixture->err.message, cases[i][1]) == NULL)
            fail_msg("%s gave %d \"%s\"", cases[i][0], rc, fixture->err.message);
        assert_int_equal(dbk_store_last_position(fixture->store), 0);
    }
}

static void test_command_command__names_what_a_caller_does_wrong(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(do_it(fixture, "Tak", "{}", ""), DBK_ENOTFOUND);
    assert_string_equal(fixture->err.message, "there is no command Tak; did you mean Take?");
    assert_int_equal(do_it(fixture, "Take", "[]", ""), DBK_EINVAL);
    assert_non_null(strstr(fixture->err.message, "it is no JSON object"));
    assert_int_equal(do_it(fixture, "Take", "{", ""), DBK_EINVAL);
    assert_int_equal(do_it(fixture, "Take", "{}", ""), DBK_ESCRIPT);
    assert_non_null(strstr(fixture->err.message, "commands/Take.lua:1: attempt to concatenate"));
}

static void test_command_command__no_events_change_nothing(void **state)
{
    struct fixture *fixture = *state;
    define(fixture, "Nothing",
           "return { stream = function() return 'n-1' end, decide = function() return {} end }");
    assert_ok(do_it(fixture, "Nothing", "{}", "key"), &fixture->err);
    assert_slice_equal(dbk_buf_slice(&fixture->events), "[]");
    assert_int_equal(fixture->result.event_count, 0);
    assert_int_equal(fixture->result.first_position, 0);
    assert_int_equal(dbk_store_last_position(fixture->store), 0);
}

static void test_command_command__checks_the_shape_of_a_command(void **state)
{
    static const char *const cases[][2] = {
        {"return {", "c.lua:1:"},
        {"return { stream = type }", "c.lua:1: `decide` must be a function"},
        {"return { decide = type }", "c.lua:1: `stream` must be a function"},
        {"return { stream = type, decide = type, decied = 1 }",
         "a command has no `decied`; did you mean `decide`?"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dbk_error err = {0};
        assert_int_equal(
            dbk_commands_add(fixture->commands, "C", "c.lua", dbk_slice_of(cases[i][0]), &err),
            DBK_EINVAL);
        if (strstr(err.message, cases[i][1]) == NULL)
            fail_msg("%s", err.message);
        assert_int_equal(do_it(fixture, "C", "{}", ""), DBK_ENOTFOUND);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_command_command__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(appends_what_was_decided),
        TEST(refuses_and_appends_nothing),
        TEST(a_dry_run_appends_nothing),
        TEST(decides_again_on_a_conflict),
        TEST(a_repeated_key_answers_as_the_first_time),
        TEST(a_key_with_another_body_is_a_conflict),
        TEST(a_key_is_known_also_when_its_rival_was_faster),
        TEST(one_key_from_many_threads_happens_once),
        TEST(meta_of_request_event_and_key_are_one_object),
        TEST(options_go_into_the_event),
        TEST(names_what_a_script_does_wrong),
        TEST(names_what_a_caller_does_wrong),
        TEST(no_events_change_nothing),
        TEST(checks_the_shape_of_a_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
