/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is promised: a call that is planned has room for its outcome, whichever allocation fails
 * then, so that one that was made is never without one. And functions of a program's own are held
 * to what a file's are: what they answer is taken or named, and never half.
 */
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "saga/functions.h"
#include "saga/state.h"

static size_t left; /* of allocations that succeed */

static void *fail_allocate(size_t size)
{
    if (left == 0)
        return NULL;
    left--;
    return malloc(size);
}

static void *fail_reallocate(void *old, size_t size)
{
    if (left == 0)
        return NULL;
    left--;
    return realloc(old, size);
}

/* ---- A saga of functions: what each answers is set by the tests ---- */

static struct {
    const char *state;
    struct dbk_saga_action action;
    const char *text;
    struct dbk_saga_message message;
    int rc;
} answers;

static int run(void *context, const struct dbk_saga_call *call, struct dbk_arena *arena,
               struct dbk_saga_answer *answer_out)
{
    (void)context;
    (void)call;
    (void)arena;
    if (answers.state != NULL)
        answer_out->state = dbk_slice_of(answers.state);
    answer_out->actions = &answers.action;
    answer_out->count = answers.action.name.data != NULL;
    return answers.rc;
}

static int by(void *context, const struct dbk_saga_route *route, const struct dbk_event *event,
              struct dbk_arena *arena, struct dbk_slice *id_out)
{
    (void)context;
    (void)route;
    (void)event;
    (void)arena;
    *id_out = dbk_slice_of(answers.text);
    return answers.rc;
}

static int text(void *context, size_t step, struct dbk_slice state, struct dbk_arena *arena,
                struct dbk_slice *out)
{
    (void)context;
    (void)step;
    (void)state;
    (void)arena;
    *out = dbk_slice_of(answers.text);
    return answers.rc;
}

static int send_step(void *context, const struct dbk_saga_sending *sending, struct dbk_arena *arena,
                     struct dbk_saga_message *message_out)
{
    (void)context;
    (void)sending;
    (void)arena;
    *message_out = answers.message;
    return answers.rc;
}

static const struct dbk_saga_step_definition steps[] = {
    {.name = "pay", .timeout_us = 1000000, .tries = 3, .undo = true, .lock = true}};
static const struct dbk_slice timers[] = {{"hurry", 5}};
static const struct dbk_saga_definition definition = {
    .steps = steps, .step_count = 1, .timers = timers, .timer_count = 1};
static const struct dbk_saga_functions functions = {
    .definition = &definition, .run = run, .by = by, .key = text, .lock = text, .send = send_step};

static struct dbk_saga_script *open_functions(void)
{
    struct dbk_saga_script *script = NULL;
    struct dbk_error err = {0};
    assert_ok(dbk_saga_script_open_functions("trip", &functions, &script, &err), &err);
    return script;
}

static void test_saga_calls__a_planned_call_has_room_for_its_outcome(void **state)
{
    (void)state;
    char name[] = "trip";
    char id[] = "t1";
    struct dbk_saga_step step = {.name = DBK_SLICE_LITERAL("pay"),
                                 .phase = DBK_SAGA_SENT,
                                 .attempt = 2,
                                 .key = DBK_SLICE_LITERAL("t1"),
                                 .call = DBK_SLICE_LITERAL("{\"command\":\"Pay\"}")};
    const struct dbk_saga_record record = {.steps = &step, .step_count = 1};
    const struct dbk_saga_instance instance = {.id = id, .id_size = 2};
    const struct dbk_uuid cause = {{0}};
    struct dbk_saga saga = {.name = name, .script = open_functions()};
    size_t count = 0;
    dbk_set_allocator(&(struct dbk_allocator){fail_allocate, fail_reallocate, free});
    for (bool made = false; !made; count++) {
        left = count;
        struct dbk_saga_job *job = dbk_saga_job_create(&saga, &instance, &record, 0, &cause);
        made = job != NULL;
        if (made) {
            assert_string_equal(job->done->id, "t1");
            assert_int_equal(job->done->attempt, 2);
            assert_string_equal(job->key, "trip/pay/t1");
        }
        dbk_saga_job_free(job);
    }
    dbk_set_allocator(&(struct dbk_allocator){malloc, realloc, free});
    assert_true(count > 4);
    dbk_saga_script_free(saga.script);
}

static void test_saga_calls__a_key_is_whole(void **state)
{
    (void)state;
    char name[] = "trip";
    char id[] = "t1";
    char long_name[700];
    char wanted[720];
    const struct dbk_uuid cause = {{0}};
    const struct dbk_saga_instance instance = {.id = id, .id_size = 2};
    struct dbk_saga saga = {.name = name, .script = open_functions()};
    memset(long_name, 'x', sizeof(long_name));
    struct dbk_saga_step step = {.name = dbk_slice(long_name, sizeof(long_name)),
                                 .phase = DBK_SAGA_UNDOING,
                                 .key = DBK_SLICE_LITERAL("t1"),
                                 .call = DBK_SLICE_LITERAL("{\"command\":\"Pay\"}")};
    const struct dbk_saga_record record = {.steps = &step, .step_count = 1};
    struct dbk_saga_job *job = dbk_saga_job_create(&saga, &instance, &record, 0, &cause);
    assert_non_null(job);
    (void)snprintf(wanted, sizeof(wanted), "trip/%.*s/t1/undo", (int)sizeof(long_name), long_name);
    assert_string_equal(job->key, wanted);
    dbk_saga_job_free(job);
    dbk_saga_script_free(saga.script);
}

static void assert_run(const char *words)
{
    struct dbk_saga_answer answer;
    struct dbk_error err = {0};
    struct dbk_arena arena;
    struct dbk_saga_script *script = open_functions();
    const struct dbk_saga_call call = {.function = DBK_SAGA_AFTER,
                                       .name = DBK_SLICE_LITERAL("pay"),
                                       .state = DBK_SLICE_LITERAL("{\"a\":1}")};
    dbk_arena_init(&arena, 1 << 20);
    int rc = dbk_saga_script_run(script, &call, &arena, &answer, &err);
    if (words == NULL) {
        assert_ok(rc, &err);
    } else {
        assert_int_equal(rc, DBK_ESCRIPT);
        assert_non_null(strstr(err.message, "saga trip: `steps.pay.after` "));
        assert_non_null(strstr(err.message, words));
    }
    dbk_arena_release(&arena);
    dbk_saga_script_free(script);
    memset(&answers, 0, sizeof(answers));
}

static void test_saga_calls__what_functions_answer_is_checked(void **state)
{
    (void)state;
    assert_run(NULL);
    answers.rc = DBK_ESCRIPT;
    assert_run("failed");
    answers.state = "[1]";
    assert_run("no JSON object");
    answers.state = "{\"a\":";
    assert_run("no JSON object");
    answers.state = "{\"a\":2}";
    assert_run(NULL);
    answers.action =
        (struct dbk_saga_action){.kind = DBK_SAGA_BEGIN, .name = DBK_SLICE_LITERAL("fly")};
    assert_run("begins a step that the saga does not have");
    answers.action =
        (struct dbk_saga_action){.kind = DBK_SAGA_BEGIN, .name = DBK_SLICE_LITERAL("pay")};
    assert_run(NULL);
    answers.action =
        (struct dbk_saga_action){.kind = DBK_SAGA_TIMER, .name = DBK_SLICE_LITERAL("late")};
    assert_run("sets a timer that the saga does not have");
    answers.action = (struct dbk_saga_action){
        .kind = DBK_SAGA_TIMER, .name = DBK_SLICE_LITERAL("hurry"), .delay_us = -1};
    assert_run("whose delay is none");
}

static void assert_key(const char *answer, const char *words)
{
    struct dbk_slice key = {0};
    struct dbk_error err = {0};
    struct dbk_arena arena;
    struct dbk_saga_script *script = open_functions();
    dbk_arena_init(&arena, 1 << 20);
    answers.text = answer;
    int rc = dbk_saga_script_key(script, 0, DBK_SLICE_LITERAL("{}"), &arena, &key, &err);
    if (words == NULL)
        assert_ok(rc, &err);
    else
        assert_non_null(strstr(err.message, words));
    assert_int_equal(rc, words == NULL ? DBK_OK : DBK_ESCRIPT);
    dbk_arena_release(&arena);
    dbk_saga_script_free(script);
    memset(&answers, 0, sizeof(answers));
}

static void assert_sends(struct dbk_saga_message message, const char *words)
{
    const struct dbk_saga_sending sending = {.undo = true, .state = DBK_SLICE_LITERAL("{}")};
    struct dbk_error err = {0};
    struct dbk_arena arena;
    struct dbk_saga_script *script = open_functions();
    dbk_arena_init(&arena, 1 << 20);
    answers.message = message;
    int rc = dbk_saga_script_send(script, &sending, &arena, &message, &err);
    if (words == NULL)
        assert_ok(rc, &err);
    else
        assert_non_null(strstr(err.message, words));
    assert_int_equal(rc, words == NULL ? DBK_OK : DBK_ESCRIPT);
    dbk_arena_release(&arena);
    dbk_saga_script_free(script);
    memset(&answers, 0, sizeof(answers));
}

static void test_saga_calls__texts_and_messages_too(void **state)
{
    (void)state;
    char text_201[202];
    memset(text_201, 'x', 201);
    text_201[201] = '\0';
    assert_key("o1", NULL);
    assert_key("", "`steps.pay.key` must answer a text");
    assert_key(text_201, "1 to 200 bytes");
    assert_key("a\nb", "control character");
    assert_key("\xff", "UTF-8");
    struct dbk_saga_event event = {.stream = DBK_SLICE_LITERAL("s-1"),
                                   .type = DBK_SLICE_LITERAL("T"),
                                   .data = DBK_SLICE_LITERAL("{}")};
    assert_sends((struct dbk_saga_message){.events = &event, .count = 1}, NULL);
    assert_sends((struct dbk_saga_message){0}, "`steps.pay.undo` must send from 1 to 1000");
    assert_sends((struct dbk_saga_message){.call = DBK_SLICE_LITERAL("{\"command\":\"A\"}")}, NULL);
    assert_sends((struct dbk_saga_message){.call = DBK_SLICE_LITERAL("{\"body\":}")},
                 "a body that is no JSON");
    event.data = (struct dbk_slice){0};
    assert_sends((struct dbk_saga_message){.events = &event, .count = 1}, "whose data is no JSON");
    event.data = DBK_SLICE_LITERAL("1");
    event.stream = (struct dbk_slice){0};
    assert_sends((struct dbk_saga_message){.events = &event, .count = 1}, "without a stream");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saga_calls__a_planned_call_has_room_for_its_outcome),
        cmocka_unit_test(test_saga_calls__a_key_is_whole),
        cmocka_unit_test(test_saga_calls__what_functions_answer_is_checked),
        cmocka_unit_test(test_saga_calls__texts_and_messages_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
