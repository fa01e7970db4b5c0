/* SPDX-License-Identifier: Apache-2.0 */
#include "saga/functions.h"

#include "json/json.h"

#define EVENTS_MAX 1000

struct place {
    const char *saga;
    const char *of; /* "steps", "on", "timers" */
    struct dbk_slice name;
    const char *what; /* "send" */
};

static int wrong(const struct place *place, int rc, const char *why, struct dbk_error *err)
{
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory: saga %s", place->saga);
    return dbk_error_set(err, DBK_ESCRIPT, "saga %s: `%s.%.*s.%s` %s", place->saga, place->of,
                         DBK_SLICE_ARGS(place->name), place->what, why);
}

/* 1: it is JSON, and an object where one is wanted; 0: it is not; DBK_ENOMEM. */
static int is_json(struct dbk_slice text, bool object)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(text.size + 1);
    if (json == NULL)
        return DBK_ENOMEM;
    int rc = dbk_json_parse(json, text, &root, NULL);
    int is = rc == DBK_ENOMEM ? rc : rc == DBK_OK && (!object || root->kind == DBK_JSON_OBJECT);
    dbk_json_free(json);
    return is;
}

static int check_json(const struct place *place, struct dbk_slice text, bool object,
                      const char *why, struct dbk_error *err)
{
    int is = is_json(text, object);
    return is == 1 ? DBK_OK : wrong(place, is < 0 ? is : DBK_ESCRIPT, why, err);
}

/* ---- What happens ---- */

static int check_action(const struct dbk_saga_functions *functions, const struct place *place,
                        struct dbk_saga_action *action, struct dbk_error *err)
{
    const struct dbk_saga_definition *definition = functions->definition;
    bool known = false;
    if (action->kind == DBK_SAGA_COMPLETE)
        return DBK_OK;
    if (!dbk_slice_is_utf8(action->name))
        return wrong(place, DBK_ESCRIPT, "answers a text that is no UTF-8", err);
    for (size_t i = 0; action->kind == DBK_SAGA_BEGIN && i < definition->step_count; i++) {
        if (!dbk_slice_equal_text(action->name, definition->steps[i].name))
            continue;
        action->step = i;
        known = true;
    }
    if (action->kind == DBK_SAGA_BEGIN)
        return known ? DBK_OK
                     : wrong(place, DBK_ESCRIPT, "begins a step that the saga does not have", err);
    for (size_t i = 0; action->kind == DBK_SAGA_TIMER && i < definition->timer_count; i++)
        known = known || dbk_slice_equal(definition->timers[i], action->name);
    if (action->kind == DBK_SAGA_TIMER && (!known || action->delay_us < 0))
        return wrong(place, DBK_ESCRIPT,
                     known ? "sets a timer whose delay is none"
                           : "sets a timer that the saga does not have",
                     err);
    return DBK_OK;
}

int dbk_saga_functions_run(const struct dbk_saga_functions *functions, const char *name,
                           const struct dbk_saga_call *call, struct dbk_arena *arena,
                           struct dbk_saga_answer *answer_out, struct dbk_error *err)
{
    static const char *const what[] = {"run", "after", "otherwise", "run"};
    const struct place place = {.saga = name,
                                .of = call->function == DBK_SAGA_RUN     ? "on"
                                      : call->function == DBK_SAGA_TIMED ? "timers"
                                                                         : "steps",
                                .name = call->name,
                                .what = what[call->function]};
    struct dbk_saga_call given = *call;
    *answer_out = (struct dbk_saga_answer){0};
    if (given.state.size == 0)
        given.state = DBK_SLICE_LITERAL("{}");
    int rc = functions->run(functions->context, &given, arena, answer_out);
    if (rc < 0)
        return wrong(&place, rc, "failed", err);
    if (answer_out->count > EVENTS_MAX)
        return wrong(&place, DBK_ESCRIPT, "answers more than 1000 commands", err);
    if (answer_out->state.data == NULL)
        answer_out->state = given.state;
    else
        rc = check_json(&place, answer_out->state, true, "answered a state that is no JSON object",
                        err);
    for (size_t i = 0; rc == DBK_OK && i < answer_out->count; i++)
        rc = check_action(functions, &place, &answer_out->actions[i], err);
    return rc;
}

/* ---- Texts ---- */

static int check_text(const struct place *place, struct dbk_slice text, struct dbk_error *err)
{
    if (text.size == 0)
        return DBK_OK;
    if (text.size > DBK_SAGA_ID_SIZE_MAX || !dbk_slice_is_utf8(text))
        return wrong(place, DBK_ESCRIPT, "must answer a text of 1 to 200 bytes of UTF-8", err);
    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)text.data[i] < 0x20 || text.data[i] == 0x7f)
            return wrong(place, DBK_ESCRIPT, "answered a text with a control character", err);
    }
    return DBK_OK;
}

int dbk_saga_functions_by(const struct dbk_saga_functions *functions, const char *name,
                          const struct dbk_saga_route *route, const struct dbk_event *event,
                          struct dbk_arena *arena, struct dbk_slice *id_out, struct dbk_error *err)
{
    const struct place place = {.saga = name, .of = "on", .name = route->type, .what = "by"};
    *id_out = (struct dbk_slice){0};
    int rc = functions->by(functions->context, route, event, arena, id_out);
    rc = rc < 0 ? wrong(&place, rc, "failed", err) : check_text(&place, *id_out, err);
    if (rc == DBK_OK && id_out->size == 0)
        id_out->data = NULL;
    return rc;
}

static struct place step_place(const struct dbk_saga_functions *functions, const char *name,
                               size_t step, const char *what)
{
    return (struct place){.saga = name,
                          .of = "steps",
                          .name = dbk_slice_of(functions->definition->steps[step].name),
                          .what = what};
}

int dbk_saga_functions_key(const struct dbk_saga_functions *functions, const char *name,
                           size_t step, struct dbk_slice state, struct dbk_arena *arena,
                           struct dbk_slice *key_out, struct dbk_error *err)
{
    const struct place place = step_place(functions, name, step, "key");
    *key_out = (struct dbk_slice){0};
    int rc = functions->key(functions->context, step, state, arena, key_out);
    if (rc < 0)
        return wrong(&place, rc, "failed", err);
    return key_out->size == 0 ? wrong(&place, DBK_ESCRIPT, "must answer a text", err)
                              : check_text(&place, *key_out, err);
}

int dbk_saga_functions_lock(const struct dbk_saga_functions *functions, const char *name,
                            size_t step, struct dbk_slice state, struct dbk_arena *arena,
                            struct dbk_slice *lock_out, struct dbk_error *err)
{
    const struct place place = step_place(functions, name, step, "lock");
    *lock_out = (struct dbk_slice){0};
    if (!functions->definition->steps[step].lock)
        return DBK_OK;
    int rc = functions->lock(functions->context, step, state, arena, lock_out);
    rc = rc < 0 ? wrong(&place, rc, "failed", err) : check_text(&place, *lock_out, err);
    if (rc == DBK_OK && lock_out->size == 0)
        lock_out->data = NULL;
    return rc;
}

/* ---- Messages ---- */

static int check_event(const struct place *place, const struct dbk_saga_event *event,
                       struct dbk_error *err)
{
    if (event->stream.size == 0 || event->type.size == 0)
        return wrong(place, DBK_ESCRIPT, "sends an event without a stream or a type", err);
    return check_json(place, event->data, false, "sends an event whose data is no JSON", err);
}

int dbk_saga_functions_send(const struct dbk_saga_functions *functions, const char *name,
                            const struct dbk_saga_sending *sending, struct dbk_arena *arena,
                            struct dbk_saga_message *message_out, struct dbk_error *err)
{
    const struct place place =
        step_place(functions, name, sending->step, sending->undo ? "undo" : "send");
    *message_out = (struct dbk_saga_message){0};
    int rc = functions->send(functions->context, sending, arena, message_out);
    if (rc < 0)
        return wrong(&place, rc, "failed", err);
    bool calls = message_out->call.size > 0;
    if (calls ? message_out->count > 0 : message_out->count == 0 || message_out->count > EVENTS_MAX)
        return wrong(&place, DBK_ESCRIPT, "must send from 1 to 1000 events, or one call", err);
    if (calls)
        return check_json(&place, message_out->call, true, "sends a body that is no JSON", err);
    for (size_t i = 0; rc == DBK_OK && i < message_out->count; i++)
        rc = check_event(&place, &message_out->events[i], err);
    return rc;
}
