/* SPDX-License-Identifier: Apache-2.0 */
/* Sagas in C of include/daybook.h: their functions, called. */
#include <inttypes.h>
#include <string.h>

#include "base/fault.h"
#include "engine/library.h"
#include "json/json.h"
#include "saga/functions.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)

struct dbk_library_saga {
    struct dbk_library_saga *next;
    const struct daybook_saga *saga;
    struct dbk_arena arena; /* the definition's */
    struct dbk_saga_definition definition;
    struct dbk_saga_functions functions;
};

/* ---- What functions write to ---- */

struct daybook_saga_answer {
    struct dbk_arena *arena;
    struct dbk_saga_answer *out;
    struct dbk_buf state;
    struct daybook_text text;
    bool writes; /* the state */
    int rc;
};

struct daybook_saga_message {
    struct dbk_arena *arena;
    struct dbk_saga_message *out;
    struct dbk_buf data; /* of the last event, or of the call */
    struct daybook_text text;
    struct dbk_buf head; /* of a call: all but its body */
    bool http;
    int rc;
};

/* The copy of a text that was written. One past its ceiling is the function's fault, as another try
   comes to the same; DBK_ENOMEM would be tried again for ever. */
static int take_text(struct dbk_arena *arena, const struct dbk_buf *text, struct dbk_slice *out)
{
    if (text->rc < 0)
        return text->rc == DBK_ENOMEM ? DBK_ENOMEM : DBK_ESCRIPT;
    *out = dbk_arena_copy(arena, dbk_buf_slice(text));
    return out->data == NULL ? DBK_ENOMEM : DBK_OK;
}

struct daybook_text *daybook_saga_state(struct daybook_saga_answer *answer)
{
    dbk_buf_reset(&answer->state);
    answer->writes = true;
    return &answer->text;
}

static void add(struct daybook_saga_answer *answer, enum dbk_saga_action_kind kind,
                const char *name, int64_t delay_us)
{
    size_t count = answer->out->count;
    struct dbk_slice text = dbk_slice_of(name == NULL ? "" : name);
    struct dbk_saga_action *actions =
        dbk_arena_alloc_zero(answer->arena, count + 1, sizeof(*actions));
    struct dbk_slice copy = dbk_arena_copy(answer->arena, text);
    if (actions == NULL || copy.data == NULL) {
        answer->rc = DBK_ENOMEM;
        return;
    }
    if (count > 0)
        memcpy(actions, answer->out->actions, count * sizeof(*actions));
    actions[count] = (struct dbk_saga_action){.kind = kind, .name = copy, .delay_us = delay_us};
    answer->out->actions = actions;
    answer->out->count = count + 1;
}

void daybook_saga_begin(struct daybook_saga_answer *answer, const char *step)
{
    add(answer, DBK_SAGA_BEGIN, step, 0);
}

void daybook_saga_complete(struct daybook_saga_answer *answer)
{
    add(answer, DBK_SAGA_COMPLETE, NULL, 0);
}

void daybook_saga_fail(struct daybook_saga_answer *answer, const char *why)
{
    add(answer, DBK_SAGA_FAIL, why, 0);
}

void daybook_saga_timer(struct daybook_saga_answer *answer, const char *timer, int64_t delay_us)
{
    add(answer, DBK_SAGA_TIMER, timer, delay_us);
}

void daybook_saga_stop(struct daybook_saga_answer *answer, const char *timer)
{
    add(answer, DBK_SAGA_STOP, timer, 0);
}

/* What was written is the last event's. */
static void end_event(struct daybook_saga_message *message)
{
    if (message->out->count == 0)
        return;
    struct dbk_saga_event *event = &message->out->events[message->out->count - 1];
    int rc = take_text(message->arena, &message->data, &event->data);
    if (message->rc == DBK_OK)
        message->rc = rc;
    dbk_buf_reset(&message->data);
}

static struct dbk_slice copy_text(struct daybook_saga_message *message, const char *text)
{
    struct dbk_slice copy = dbk_arena_copy(message->arena, dbk_slice_of(text == NULL ? "" : text));
    if (copy.data == NULL)
        message->rc = DBK_ENOMEM;
    return copy;
}

struct daybook_text *daybook_saga_event(struct daybook_saga_message *message, const char *stream,
                                        const char *type, const char *const *tags, size_t tag_count)
{
    end_event(message);
    size_t count = message->out->count;
    struct dbk_saga_event *events =
        dbk_arena_alloc_zero(message->arena, count + 1, sizeof(*events));
    struct dbk_slice *kept = dbk_arena_alloc_zero(message->arena, tag_count + 1, sizeof(*kept));
    if (events == NULL || kept == NULL) {
        message->rc = DBK_ENOMEM;
        return &message->text;
    }
    if (count > 0)
        memcpy(events, message->out->events, count * sizeof(*events));
    for (size_t i = 0; i < tag_count; i++)
        kept[i] = copy_text(message, tags[i]);
    events[count] = (struct dbk_saga_event){.stream = copy_text(message, stream),
                                            .type = copy_text(message, type),
                                            .tags = kept,
                                            .tag_count = tag_count};
    message->out->events = events;
    message->out->count = count + 1;
    return &message->text;
}

static struct daybook_text *begin_call(struct daybook_saga_message *message, const char *kind,
                                       const char *name)
{
    bool first = true;
    end_event(message);
    dbk_buf_reset(&message->head);
    dbk_buf_append_char(&message->head, '{');
    dbk_json_write_key(&message->head, &first, kind);
    dbk_json_write_string(&message->head, dbk_slice_of(name == NULL ? "" : name));
    return &message->text;
}

struct daybook_text *daybook_saga_command(struct daybook_saga_message *message, const char *command)
{
    return begin_call(message, "command", command);
}

struct daybook_text *daybook_saga_http(struct daybook_saga_message *message, const char *address,
                                       const char *method, const char *path)
{
    bool first = false;
    struct daybook_text *text = begin_call(message, "http", address);
    dbk_json_write_key(&message->head, &first, "method");
    dbk_json_write_string(&message->head, dbk_slice_of(method == NULL ? "" : method));
    dbk_json_write_key(&message->head, &first, "path");
    dbk_json_write_string(&message->head, dbk_slice_of(path == NULL ? "" : path));
    return text;
}

static int end_message(struct daybook_saga_message *message)
{
    bool first = false;
    if (message->head.size == 0) {
        end_event(message);
        return message->rc;
    }
    if (message->data.size > 0) {
        dbk_json_write_key(&message->head, &first, "body");
        dbk_buf_append(&message->head, dbk_buf_slice(&message->data));
    }
    dbk_buf_append_char(&message->head, '}');
    if (message->head.rc == DBK_OK)
        message->head.rc = message->data.rc;
    int rc = take_text(message->arena, &message->head, &message->out->call);
    return message->rc < 0 ? message->rc : rc;
}

int daybook_saga_member(const struct daybook_saga_now *now, const char *name, const char **text_out,
                        size_t *size_out)
{
    struct dbk_slice raw = {0};
    if (now == NULL || name == NULL ||
        !dbk_json_find(dbk_slice(now->state, now->state_size), dbk_slice_of(name), &raw))
        return 0;
    *text_out = raw.data;
    *size_out = raw.size;
    return 1;
}

/* ---- Calling ---- */

static int failed(int answer, int rc)
{
    return answer != 0 ? DBK_ESCRIPT : rc;
}

/* What a function gets. */
struct given {
    struct dbk_lazy lazy;
    struct daybook_event event;
    struct daybook_saga_now now;
};

static void give(struct given *given, struct dbk_slice state, const struct dbk_event *event)
{
    *given = (struct given){.now = {.state = state.data, .state_size = state.size}};
    if (event == NULL)
        return;
    given->lazy.event = *event;
    given->event = dbk_library_event(&given->lazy);
    given->now.event = &given->event;
}

static const char *text_of(struct dbk_arena *arena, struct dbk_slice text)
{
    return dbk_arena_copy(arena, text).data;
}

static daybook_saga_fn function_of(const struct daybook_saga *saga,
                                   const struct dbk_saga_call *call)
{
    for (size_t i = 0; call->function == DBK_SAGA_RUN && i < saga->on_count; i++) {
        if (dbk_slice_equal_text(call->name, saga->on[i].type))
            return saga->on[i].run;
    }
    for (size_t i = 0; call->function == DBK_SAGA_TIMED && i < saga->timer_count; i++) {
        if (dbk_slice_equal_text(call->name, saga->timers[i].name))
            return saga->timers[i].run;
    }
    for (size_t i = 0; i < saga->step_count; i++) {
        if (dbk_slice_equal_text(call->name, saga->steps[i].name))
            return call->function == DBK_SAGA_AFTER ? saga->steps[i].after
                                                    : saga->steps[i].otherwise;
    }
    return NULL;
}

static int run(void *context, const struct dbk_saga_call *call, struct dbk_arena *arena,
               struct dbk_saga_answer *answer_out)
{
    const struct daybook_saga *saga = context;
    struct given given;
    struct daybook_saga_answer answer = {.arena = arena, .out = answer_out};
    daybook_saga_fn function = function_of(saga, call);
    struct dbk_slice state = dbk_arena_copy(arena, call->state);
    give(&given, state, call->event);
    if (state.data == NULL)
        return DBK_ENOMEM;
    if (function == NULL)
        return DBK_ESCRIPT; /* of a record that another version of the program wrote */
    if (call->reply.size > 0) {
        given.now.reply = text_of(arena, call->reply);
        given.now.reply_size = call->reply.size;
    }
    if (call->function == DBK_SAGA_OTHERWISE)
        given.now.why = text_of(arena, call->why);
    if ((call->reply.size > 0 && given.now.reply == NULL) ||
        (call->function == DBK_SAGA_OTHERWISE && given.now.why == NULL))
        return DBK_ENOMEM;
    dbk_buf_init(&answer.state, TEXT_SIZE_MAX);
    answer.text.out = &answer.state;
    int rc = failed(function(&given.now, &answer, saga->context), answer.rc);
    if (rc == DBK_OK && answer.writes)
        rc = take_text(arena, &answer.state, &answer_out->state);
    dbk_buf_release(&answer.state);
    return rc;
}

static int write_text(daybook_saga_text_fn function, const struct daybook_saga *saga,
                      const struct given *given, struct dbk_arena *arena, struct dbk_slice *out)
{
    struct dbk_buf buf;
    struct daybook_text text = {&buf};
    dbk_buf_init(&buf, TEXT_SIZE_MAX);
    int rc = failed(function(&given->now, &text, saga->context), DBK_OK);
    if (rc == DBK_OK)
        rc = take_text(arena, &buf, out);
    dbk_buf_release(&buf);
    return rc;
}

static daybook_saga_text_fn reply_of(const struct daybook_saga_reply *replies, size_t count,
                                     struct dbk_slice type)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_slice_equal_text(type, replies[i].type))
            return replies[i].by;
    }
    return NULL;
}

static int by(void *context, const struct dbk_saga_route *route, const struct dbk_event *event,
              struct dbk_arena *arena, struct dbk_slice *id_out)
{
    const struct daybook_saga *saga = context;
    daybook_saga_text_fn function = NULL;
    struct given given;
    give(&given, DBK_SLICE_LITERAL("{}"), event);
    for (size_t i = 0; route->role <= DBK_SAGA_ON && i < saga->on_count; i++) {
        if (dbk_slice_equal_text(route->type, saga->on[i].type))
            function = saga->on[i].by;
    }
    if (route->role > DBK_SAGA_ON) {
        const struct daybook_saga_step *step = &saga->steps[route->step];
        function = route->role == DBK_SAGA_DONE
                       ? reply_of(step->done, step->done_count, route->type)
                   : route->role == DBK_SAGA_FAILED
                       ? reply_of(step->failed, step->failed_count, route->type)
                       : reply_of(step->undone, step->undone_count, route->type);
    }
    return function == NULL ? DBK_ESCRIPT : write_text(function, saga, &given, arena, id_out);
}

static int step_text(const struct daybook_saga *saga, daybook_saga_text_fn function,
                     struct dbk_slice state, struct dbk_arena *arena, struct dbk_slice *out)
{
    struct given given;
    struct dbk_slice copy = dbk_arena_copy(arena, state);
    give(&given, copy, NULL);
    return copy.data == NULL ? DBK_ENOMEM : write_text(function, saga, &given, arena, out);
}

static int key(void *context, size_t step, struct dbk_slice state, struct dbk_arena *arena,
               struct dbk_slice *key_out)
{
    const struct daybook_saga *saga = context;
    return step_text(saga, saga->steps[step].key, state, arena, key_out);
}

static int lock(void *context, size_t step, struct dbk_slice state, struct dbk_arena *arena,
                struct dbk_slice *lock_out)
{
    const struct daybook_saga *saga = context;
    return step_text(saga, saga->steps[step].lock, state, arena, lock_out);
}

static int send_step(void *context, const struct dbk_saga_sending *sending, struct dbk_arena *arena,
                     struct dbk_saga_message *message_out)
{
    const struct daybook_saga *saga = context;
    const struct daybook_saga_step *step = &saga->steps[sending->step];
    struct given given;
    struct daybook_saga_message message = {.arena = arena, .out = message_out};
    struct dbk_slice state = dbk_arena_copy(arena, sending->state);
    give(&given, state, NULL);
    given.now.key = text_of(arena, sending->key);
    given.now.why = sending->undo ? text_of(arena, sending->reason) : NULL;
    if (state.data == NULL || given.now.key == NULL || (sending->undo && given.now.why == NULL))
        return DBK_ENOMEM;
    dbk_buf_init(&message.data, TEXT_SIZE_MAX);
    dbk_buf_init(&message.head, TEXT_SIZE_MAX);
    message.text.out = &message.data;
    int answer = (sending->undo ? step->undo : step->send)(&given.now, &message, saga->context);
    int rc = answer != 0 ? DBK_ESCRIPT : end_message(&message);
    dbk_buf_release(&message.data);
    dbk_buf_release(&message.head);
    return rc;
}

/* ---- Adding ---- */

void dbk_library_free_sagas(struct daybook *book)
{
    for (struct dbk_library_saga *own = book->sagas, *next; own != NULL; own = next) {
        next = own->next;
        dbk_arena_release(&own->arena);
        dbk_free(own);
    }
    book->sagas = NULL;
}

static int add_saga(struct daybook *book, const struct daybook_saga *saga, struct dbk_error *err)
{
    struct dbk_library_saga *own = dbk_alloc_zero(1, sizeof(*own));
    if (own == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory adding a saga");
    own->saga = saga;
    dbk_arena_init(&own->arena, TEXT_SIZE_MAX);
    own->next = book->sagas;
    book->sagas = own;
    /* It is only read: functions have it without const, as what they are given is theirs. */
    own->functions = (struct dbk_saga_functions){.definition = &own->definition,
                                                 .context = (void *)(uintptr_t)saga,
                                                 .run = run,
                                                 .by = by,
                                                 .key = key,
                                                 .lock = lock,
                                                 .send = send_step};
    int rc = dbk_library_declare_saga(saga, &own->arena, &own->definition, err);
    return rc < 0 ? rc : dbk_engine_add_saga(book->engine, saga->name, &own->functions, err);
}

int daybook_saga_add(struct daybook *book, const struct daybook_saga *saga,
                     struct daybook_error *error)
{
    struct dbk_error err = {0};
    if (book == NULL || saga == NULL || saga->name == NULL ||
        !dbk_fault_is_name(dbk_slice_of(saga->name)))
        return dbk_library_wrong(error, "daybook_saga_add: a book, and a saga whose name has "
                                        "letters, digits and `_` are needed");
    int rc = add_saga(book, saga, &err);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : DAYBOOK_OK;
}

/* ---- Asking ---- */

struct showing {
    char *text;
};

static int keep_record(struct dbk_slice id, const struct dbk_event *event,
                       const struct dbk_saga_record *record, void *context)
{
    struct showing *showing = context;
    (void)id;
    (void)record;
    dbk_free(showing->text);
    showing->text = dbk_copy_text(event->data);
    return showing->text == NULL ? DBK_ENOMEM : DBK_OK;
}

static int find(struct daybook *book, const char *saga, const char *instance, size_t *index_out,
                struct dbk_error *err)
{
    if (book == NULL || saga == NULL || instance == NULL)
        return dbk_error_set(err, DBK_EINVAL, "a book, a saga and an instance are needed");
    return dbk_sagas_find(dbk_engine_sagas(book->engine), saga, index_out, err);
}

int daybook_saga_show(struct daybook *book, const char *saga, const char *instance,
                      char **record_out, struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct showing showing = {0};
    size_t index = 0;
    int rc = find(book, saga, instance, &index, &err);
    if (rc == DBK_OK)
        rc = dbk_sagas_show(dbk_engine_sagas(book->engine), index, dbk_slice_of(instance),
                            keep_record, &showing, &err);
    if (rc < 0) {
        dbk_free(showing.text);
        return dbk_library_fail(error, rc, &err);
    }
    *record_out = showing.text;
    return DAYBOOK_OK;
}

static int ask(struct daybook *book, const char *saga, const char *instance, bool cancels,
               const char *reason, struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_saga_record record;
    struct dbk_arena arena;
    size_t index = 0;
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    int rc = find(book, saga, instance, &index, &err);
    if (rc == DBK_OK && cancels)
        rc = dbk_sagas_cancel(dbk_engine_sagas(book->engine), index, dbk_slice_of(instance),
                              dbk_slice_of(reason == NULL ? "" : reason), &arena, &record, &err);
    else if (rc == DBK_OK)
        rc = dbk_sagas_retry(dbk_engine_sagas(book->engine), index, dbk_slice_of(instance), &arena,
                             &record, &err);
    dbk_arena_release(&arena);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : DAYBOOK_OK;
}

int daybook_saga_retry(struct daybook *book, const char *saga, const char *instance,
                       struct daybook_error *error)
{
    return ask(book, saga, instance, false, NULL, error);
}

int daybook_saga_cancel(struct daybook *book, const char *saga, const char *instance,
                        const char *reason, struct daybook_error *error)
{
    return ask(book, saga, instance, true, reason, error);
}
