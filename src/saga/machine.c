/* SPDX-License-Identifier: Apache-2.0 */
/* What comes for an instance: taken, or put aside until it can be. */
#include "saga/machine.h"

#include <inttypes.h>

#include "saga/steps.h"

/* ---- Inputs ---- */

/* The newest step of a definition in one of two phases; step_count: there is none. */
static size_t find_step(const struct dbk_saga_machine *machine,
                        const struct dbk_saga_record *record, size_t definition,
                        enum dbk_saga_phase one, enum dbk_saga_phase other)
{
    const char *name = dbk_saga_script_definition(machine->script)->steps[definition].name;
    for (size_t i = record->step_count; i > 0; i--) {
        const struct dbk_saga_step *step = &record->steps[i - 1];
        if ((step->phase == one || step->phase == other) && dbk_slice_equal_text(step->name, name))
            return i - 1;
    }
    return record->step_count;
}

static int take_answer(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                       const struct dbk_saga_input *input, struct dbk_error *err)
{
    bool undone = input->route->role == DBK_SAGA_UNDONE;
    size_t index =
        find_step(machine, record, input->route->step, undone ? DBK_SAGA_UNDOING : DBK_SAGA_SENT,
                  undone ? DBK_SAGA_UNDO_PAUSED : DBK_SAGA_PAUSED);
    if (index == record->step_count)
        return 0; /* a second time, or too late */
    if (undone) {
        record->steps[index].phase = DBK_SAGA_STEP_UNDONE;
        record->steps[index].due_us = 0;
        return 1;
    }
    if (input->route->role == DBK_SAGA_DONE) {
        int rc = dbk_saga_step_succeeds(machine, record, index, input, err);
        return rc < 0 ? rc : 1;
    }
    record->steps[index].phase = DBK_SAGA_STEP_FAILED;
    int rc = dbk_saga_break_step(machine, record, index, input->route->type, err);
    return rc < 0 ? rc : 1;
}

static int take_event(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                      const struct dbk_saga_input *input, struct dbk_error *err)
{
    enum dbk_saga_role role = input->route->role;
    if (role == DBK_SAGA_START) {
        if (record->status != DBK_SAGA_WAITING)
            return 0; /* a second time */
        record->status = DBK_SAGA_RUNNING;
    } else if (role != DBK_SAGA_ON) {
        return take_answer(machine, record, input, err);
    } else if (record->status != DBK_SAGA_RUNNING) {
        return 0;
    }
    int rc = dbk_saga_call_function(machine, record,
                                    &(struct dbk_saga_call){.function = DBK_SAGA_RUN,
                                                            .name = input->event->type,
                                                            .event = input->event},
                                    err);
    return rc < 0 ? rc : 1;
}

static int take_outcome(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                        const struct dbk_saga_input *input, struct dbk_error *err)
{
    struct dbk_saga_step *step =
        input->step < record->step_count ? &record->steps[input->step] : NULL;
    enum dbk_saga_phase phase = input->undo ? DBK_SAGA_UNDOING : DBK_SAGA_SENT;
    int rc = DBK_OK;
    if (step == NULL || step->phase != phase || step->attempt != input->attempt ||
        step->call.size == 0)
        return 0; /* of an earlier try */
    switch (input->outcome) {
    case DBK_SAGA_SUCCEEDED:
        if (!input->undo) {
            rc = dbk_saga_step_succeeds(machine, record, input->step, input, err);
            break;
        }
        step->phase = DBK_SAGA_STEP_UNDONE;
        step->call = (struct dbk_slice){0};
        break;
    case DBK_SAGA_REFUSED:
        if (!input->undo) {
            step->phase = DBK_SAGA_STEP_FAILED;
            rc = dbk_saga_break_step(machine, record, input->step, input->why, err);
            break;
        }
        step->attempt = UINT32_MAX; /* asking again would not help */
        rc = dbk_saga_pause_step(machine, record, input->step, input->why, err);
        break;
    case DBK_SAGA_AGAIN:
        rc = dbk_saga_pause_step(machine, record, input->step, input->why, err);
        break;
    case DBK_SAGA_BROKEN:
        step->call = (struct dbk_slice){0};
        step->error = input->why;
        record->fault = input->why;
        record->fault_step = input->step + 1;
        break;
    }
    return rc < 0 ? rc : 1;
}

static int take_due_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                         size_t index, struct dbk_error *err)
{
    struct dbk_saga_step *step = &record->steps[index];
    switch (step->phase) {
    case DBK_SAGA_WAITS:
        step->phase = DBK_SAGA_SKIPPED;
        return dbk_saga_break_step(machine, record, index,
                                   DBK_SLICE_LITERAL("its lock was not free in time"), err);
    case DBK_SAGA_SENT:
    case DBK_SAGA_UNDOING:
        return dbk_saga_pause_step(machine, record, index,
                                   DBK_SLICE_LITERAL("no answer came in time"), err);
    case DBK_SAGA_PAUSED:
        return dbk_saga_send_step(machine, record, index, err);
    case DBK_SAGA_UNDO_PAUSED:
        return dbk_saga_send_undo(machine, record, index, err);
    case DBK_SAGA_STEP_DONE:
    case DBK_SAGA_STEP_FAILED:
    case DBK_SAGA_STEP_UNKNOWN:
    case DBK_SAGA_SKIPPED:
    case DBK_SAGA_STEP_UNDONE:
    case DBK_SAGA_KEPT:
        step->due_us = 0;
        return DBK_OK;
    }
    return DBK_OK;
}

static int take_lock(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                     const struct dbk_saga_input *input, struct dbk_error *err);

/* One input at a time, so that one that cannot be taken is put aside alone. */
static int take_stashed(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                        struct dbk_slice text, struct dbk_error *err);

static int take_time(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                     struct dbk_error *err)
{
    int changed = 0;
    int rc = DBK_OK;
    if (record->stash_count > 0 && record->status != DBK_SAGA_WAITING) {
        struct dbk_slice text = record->stash[0];
        record->stash++;
        record->stash_count--;
        machine->on = text;
        rc = take_stashed(machine, record, text, err);
        return rc < 0 ? rc : 1;
    }
    for (size_t i = 0; rc == DBK_OK && i < record->step_count; i++) {
        if (record->steps[i].due_us == 0 || record->steps[i].due_us > machine->now_us)
            continue;
        rc = take_due_step(machine, record, i, err);
        changed = 1;
    }
    for (size_t i = 0; rc == DBK_OK && i < record->timer_count;) {
        struct dbk_slice name = record->timers[i].name;
        if (record->timers[i].due_us > machine->now_us) {
            i++;
            continue;
        }
        dbk_saga_stop_timer(record, i);
        changed = 1;
        rc = dbk_saga_call_function(
            machine, record, &(struct dbk_saga_call){.function = DBK_SAGA_TIMED, .name = name},
            err);
        i = 0;
    }
    return rc < 0 ? rc : changed;
}

static int take_lock(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                     const struct dbk_saga_input *input, struct dbk_error *err)
{
    struct dbk_saga_step *step =
        input->step < record->step_count ? &record->steps[input->step] : NULL;
    if (step == NULL || step->phase != DBK_SAGA_WAITS ||
        !machine->take_lock(machine->context, step->lock))
        return 0;
    step->since = 0;
    int rc = dbk_saga_send_step(machine, record, input->step, err);
    return rc < 0 ? rc : 1;
}

/* ---- What was put aside ---- */

static struct dbk_slice member_text(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_STRING ? node->text : (struct dbk_slice){0};
}

static uint64_t member_number(const struct dbk_json_node *object, const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    return node != NULL && node->kind == DBK_JSON_INTEGER && node->integer > 0
               ? (uint64_t)node->integer
               : 0;
}

static const char *const outcomes[] = {"done", "refused", "again", "broken"};

static int take_kept_outcome(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                             const struct dbk_json_node *root, struct dbk_error *err)
{
    const struct dbk_json_node *reply = dbk_json_member(root, "reply");
    struct dbk_slice name = member_text(root, "outcome");
    size_t outcome = 0;
    while (outcome < 3 && !dbk_slice_equal_text(name, outcomes[outcome]))
        outcome++;
    struct dbk_saga_input input = {.kind = DBK_SAGA_OUTCOME,
                                   .step = (size_t)member_number(root, "step") - 1,
                                   .attempt = member_number(root, "attempt"),
                                   .undo = dbk_json_member(root, "undo") != NULL,
                                   .outcome = (enum dbk_saga_outcome)outcome};
    input.why = dbk_arena_copy(machine->arena, member_text(root, "error"));
    if (reply != NULL)
        input.reply = dbk_arena_copy(machine->arena, reply->raw);
    if (input.why.data == NULL || (reply != NULL && input.reply.data == NULL))
        return dbk_saga_no_memory(err);
    int rc = take_outcome(machine, record, &input, err);
    return rc < 0 ? rc : DBK_OK;
}

static int take_stashed(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                        struct dbk_slice text, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    const struct dbk_event *event = NULL;
    int rc = dbk_json_parse(machine->json, text, &root, err);
    if (rc < 0)
        return rc;
    uint64_t position = member_number(root, "position");
    if (dbk_json_member(root, "outcome") != NULL)
        return take_kept_outcome(machine, record, root, err);
    if (position == 0) {
        size_t index = (size_t)member_number(root, "step") - 1;
        rc = dbk_json_member(root, "lock") == NULL
                 ? take_time(machine, record, err)
                 : take_lock(machine, record, &(struct dbk_saga_input){.step = index}, err);
        return rc < 0 ? rc : DBK_OK;
    }
    rc = machine->load(machine->context, position, &event, err);
    if (rc <= 0)
        return rc; /* it is gone: forgotten, or removed */
    const struct dbk_saga_route *route = dbk_saga_script_route(machine->script, event->type);
    if (route == NULL)
        return DBK_OK;
    if (record->status == DBK_SAGA_WAITING && route->role != DBK_SAGA_START)
        return dbk_error_set(err, DBK_ESCRIPT,
                             "%.*s at position %" PRIu64 " is of an instance that "
                             "has not begun",
                             DBK_SLICE_ARGS(event->type), position);
    rc = take_event(
        machine, record,
        &(struct dbk_saga_input){.kind = DBK_SAGA_EVENT, .event = event, .route = route}, err);
    return rc < 0 ? rc : DBK_OK;
}

/* The event that begins it may wait behind what came too early: it goes first. */
static int begin_late(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                      struct dbk_slice *input, struct dbk_error *err)
{
    for (size_t i = 0; record->status == DBK_SAGA_WAITING && i < record->stash_count; i++) {
        const struct dbk_json_node *root = NULL;
        struct dbk_slice start = record->stash[i];
        int rc = dbk_json_parse(machine->json, start, &root, err);
        if (rc < 0)
            return rc;
        const struct dbk_saga_route *route =
            dbk_saga_script_route(machine->script, member_text(root, "type"));
        if (route == NULL || route->role != DBK_SAGA_START)
            continue;
        record->stash[i] = *input;
        *input = start;
        /* What stood before it stays there, in order. */
        for (size_t j = i; j > 0; j--) {
            struct dbk_slice other = record->stash[j];
            record->stash[j] = record->stash[j - 1];
            record->stash[j - 1] = other;
        }
        break;
    }
    return DBK_OK;
}

static int retry(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                 struct dbk_error *err)
{
    if (!dbk_saga_is_parked(record))
        return dbk_error_set(err, DBK_EINVAL, "it is not parked, but %s",
                             dbk_saga_status_name(record->status));
    struct dbk_slice input = record->fault_input;
    size_t index = (size_t)record->fault_step;
    record->fault = record->fault_input = (struct dbk_slice){0};
    record->fault_step = 0;
    if (index > 0) {
        struct dbk_saga_step *step = &record->steps[index - 1];
        bool undo = step->phase == DBK_SAGA_UNDOING || step->phase == DBK_SAGA_UNDO_PAUSED;
        step->attempt = 0;
        int rc = undo ? dbk_saga_send_undo(machine, record, index - 1, err)
                      : dbk_saga_send_step(machine, record, index - 1, err);
        return rc < 0 ? rc : 1;
    }
    int rc = begin_late(machine, record, &input, err);
    if (rc == DBK_OK && input.size > 0)
        rc = take_stashed(machine, record, input, err);
    return rc < 0 ? rc : 1;
}

static int cancel(struct dbk_saga_record *record, const struct dbk_saga_input *input,
                  struct dbk_error *err)
{
    size_t index = (size_t)record->fault_step;
    if (!dbk_saga_is_open(record))
        return dbk_error_set(err, DBK_EINVAL, "it has ended: it is %s",
                             dbk_saga_status_name(record->status));
    bool stuck = record->status == DBK_SAGA_COMPENSATING && dbk_saga_is_parked(record);
    if (record->status == DBK_SAGA_COMPENSATING && !stuck)
        return dbk_error_set(err, DBK_EINVAL, "it is being undone already");
    record->fault = record->fault_input = (struct dbk_slice){0};
    record->fault_step = 0;
    if (stuck && index > 0) {
        record->steps[index - 1].phase = DBK_SAGA_KEPT;
        record->steps[index - 1].error = input->why;
        record->steps[index - 1].due_us = 0;
        record->steps[index - 1].call = (struct dbk_slice){0};
    } else if (index > 0) {
        record->steps[index - 1].phase = DBK_SAGA_STEP_UNKNOWN;
    }
    if (record->status == DBK_SAGA_WAITING)
        record->status = DBK_SAGA_DROPPED;
    dbk_saga_compensate(record, input->why);
    return 1;
}

/* ---- The whole ---- */

struct dbk_slice dbk_saga_input_json(const struct dbk_saga_machine *machine,
                                     const struct dbk_saga_record *record,
                                     const struct dbk_saga_input *input)
{
    struct dbk_buf out;
    bool first = true;
    dbk_buf_init(&out, DBK_SAGA_TEXT_SIZE_MAX);
    dbk_buf_append_char(&out, '{');
    switch (input->kind) {
    case DBK_SAGA_EVENT:
        dbk_json_write_key(&out, &first, "position");
        dbk_json_write_u64(&out, input->event->position);
        dbk_json_write_key(&out, &first, "type");
        dbk_json_write_string(&out, input->event->type);
        break;
    case DBK_SAGA_OUTCOME:
        dbk_json_write_key(&out, &first, "outcome");
        dbk_json_write_string(&out, dbk_slice_of(outcomes[input->outcome]));
        dbk_json_write_key(&out, &first, "attempt");
        dbk_json_write_u64(&out, input->attempt);
        if (input->undo)
            dbk_buf_append_text(&out, ",\"undo\":true");
        if (input->reply.size > 0) {
            dbk_json_write_key(&out, &first, "reply");
            dbk_buf_append(&out, input->reply);
        }
        break;
    case DBK_SAGA_TIME:
        dbk_json_write_key(&out, &first, "due_us");
        dbk_json_write_integer(&out, machine->now_us);
        break;
    case DBK_SAGA_LOCK:
        dbk_json_write_key(&out, &first, "lock");
        dbk_json_write_string(&out, input->step < record->step_count
                                        ? record->steps[input->step].lock
                                        : (struct dbk_slice){0});
        break;
    case DBK_SAGA_RETRY:
        dbk_buf_append_text(&out, "\"retry\":true");
        first = false;
        break;
    case DBK_SAGA_CANCEL:
        dbk_json_write_key(&out, &first, "cancel");
        dbk_json_write_string(&out, input->why);
        break;
    }
    if (input->kind == DBK_SAGA_OUTCOME || input->kind == DBK_SAGA_LOCK) {
        dbk_json_write_key(&out, &first, "step");
        dbk_json_write_u64(&out, input->step + 1);
    }
    if (input->kind == DBK_SAGA_OUTCOME && input->why.size > 0) {
        dbk_json_write_key(&out, &first, "error");
        dbk_json_write_string(&out, input->why);
    }
    dbk_buf_append_char(&out, '}');
    struct dbk_slice text = {0};
    if (out.rc == DBK_OK)
        text = dbk_arena_copy(machine->arena, dbk_buf_slice(&out));
    dbk_buf_release(&out);
    return text;
}

/* It cannot be taken now: parked, or not begun. Nothing that comes is lost. */
static int put_aside(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                     const struct dbk_saga_input *input, struct dbk_error *err)
{
    bool begins = input->kind == DBK_SAGA_EVENT && input->route->role == DBK_SAGA_START;
    if (dbk_saga_is_parked(record)) {
        if (begins && record->status != DBK_SAGA_WAITING)
            return 0;
        int rc = dbk_saga_add_stash(record, machine->on, false, machine->arena, err);
        return rc < 0 ? rc : 1;
    }
    if (dbk_saga_script_definition(machine->script)->unmatched == DBK_SAGA_IGNORE)
        return 0;
    if (dbk_saga_script_definition(machine->script)->unmatched == DBK_SAGA_WAIT) {
        int rc = dbk_saga_add_stash(record, machine->on, false, machine->arena, err);
        return rc < 0 ? rc : 1;
    }
    char *fault = dbk_arena_format(machine->arena,
                                   "%.*s at position %" PRIu64 " is of an instance that has not "
                                   "begun",
                                   DBK_SLICE_ARGS(input->event->type), input->event->position);
    if (fault == NULL)
        return dbk_saga_no_memory(err);
    record->fault = dbk_slice_of(fault);
    record->fault_input = machine->on;
    return 1;
}

static bool is_put_aside(const struct dbk_saga_record *record, const struct dbk_saga_input *input)
{
    bool parked = dbk_saga_is_parked(record);
    if (input->kind == DBK_SAGA_EVENT)
        return parked ||
               (record->status == DBK_SAGA_WAITING && input->route->role != DBK_SAGA_START);
    return parked && input->kind == DBK_SAGA_OUTCOME;
}

static int take(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                const struct dbk_saga_input *input, struct dbk_error *err)
{
    switch (input->kind) {
    case DBK_SAGA_EVENT:
        return take_event(machine, record, input, err);
    case DBK_SAGA_OUTCOME:
        return take_outcome(machine, record, input, err);
    case DBK_SAGA_TIME:
        return dbk_saga_is_parked(record) ? 0 : take_time(machine, record, err);
    case DBK_SAGA_LOCK:
        return dbk_saga_is_parked(record) ? 0 : take_lock(machine, record, input, err);
    case DBK_SAGA_RETRY:
        return retry(machine, record, err);
    case DBK_SAGA_CANCEL:
        return cancel(record, input, err);
    }
    return 0;
}

int dbk_saga_apply(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                   const struct dbk_saga_input *input, struct dbk_error *err)
{
    machine->sends = NULL;
    machine->send_count = machine->send_capacity = 0;
    if (!dbk_saga_is_open(record) && input->kind < DBK_SAGA_RETRY)
        return 0;
    machine->on = dbk_saga_input_json(machine, record, input);
    if (machine->on.data == NULL)
        return dbk_saga_no_memory(err);
    record->read = machine->position;
    if (is_put_aside(record, input))
        return put_aside(machine, record, input, err);
    int changed = take(machine, record, input, err);
    if (changed <= 0)
        return changed;
    int rc = dbk_saga_advance(machine, record, err);
    return rc < 0 ? rc : changed;
}

int dbk_saga_park(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                  const struct dbk_saga_input *input, const struct dbk_error *why,
                  struct dbk_error *err)
{
    machine->send_count = 0;
    machine->on = dbk_saga_input_json(machine, record, input);
    struct dbk_slice fault = dbk_arena_copy(machine->arena, dbk_slice_of(why->message));
    if (machine->on.data == NULL || fault.data == NULL)
        return dbk_saga_no_memory(err);
    record->read = machine->position;
    record->fault = fault;
    if (input->kind == DBK_SAGA_RETRY || input->kind == DBK_SAGA_CANCEL)
        return DBK_OK; /* what it was parked for stays */
    record->fault_step = 0;
    record->fault_input = machine->on;
    if (input->kind != DBK_SAGA_TIME || record->stash_count == 0 ||
        record->status == DBK_SAGA_WAITING)
        return DBK_OK;
    record->fault_input = record->stash[0];
    record->stash++;
    record->stash_count--;
    return DBK_OK;
}
