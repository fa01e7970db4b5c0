/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steps of one instance. Forward: begin ──> send ──> succeed or break. Backward: advance looks for
 * the last step that is not settled, waits while it is under way, and undoes what was done, one by
 * one, in reverse order.
 */
#include "saga/steps.h"

int dbk_saga_no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory running a saga");
}

static int definition_of(const struct dbk_saga_machine *machine, const struct dbk_saga_step *step,
                         size_t *index_out, struct dbk_error *err)
{
    if (dbk_saga_script_step(machine->script, step->name, index_out))
        return DBK_OK;
    return dbk_error_set(err, DBK_ESCRIPT,
                         "sagas/%.*s.lua declares no step %.*s any more, and it is under way",
                         DBK_SLICE_ARGS(machine->name), DBK_SLICE_ARGS(step->name));
}

static const struct dbk_saga_step_definition *at(const struct dbk_saga_machine *machine,
                                                 size_t index)
{
    return &dbk_saga_script_definition(machine->script)->steps[index];
}

/* ---- Sending ---- */

static int add_sends(struct dbk_saga_machine *machine, const struct dbk_saga_message *message,
                     size_t index, const struct dbk_saga_step *step, struct dbk_slice key,
                     struct dbk_error *err)
{
    size_t needed = machine->send_count + message->count;
    if (needed > machine->send_capacity) {
        struct dbk_saga_send *more = dbk_arena_alloc(machine->arena, needed * 2 * sizeof(*more));
        if (more == NULL)
            return dbk_saga_no_memory(err);
        for (size_t i = 0; i < machine->send_count; i++)
            more[i] = machine->sends[i];
        machine->sends = more;
        machine->send_capacity = needed * 2;
    }
    for (size_t i = 0; i < message->count; i++)
        machine->sends[machine->send_count++] = (struct dbk_saga_send){.event = message->events[i],
                                                                       .step = index,
                                                                       .ordinal = step->sends,
                                                                       .index = i,
                                                                       .key = key};
    return DBK_OK;
}

/* "checkout/pay/17", with "/undo" behind it for the compensation. */
static struct dbk_slice key_of(const struct dbk_saga_machine *machine,
                               const struct dbk_saga_step *step, bool undo)
{
    return dbk_slice_of(dbk_arena_format(machine->arena, "%.*s/%.*s/%.*s%s",
                                         DBK_SLICE_ARGS(machine->name), DBK_SLICE_ARGS(step->name),
                                         DBK_SLICE_ARGS(step->key), undo ? "/undo" : ""));
}

static int send_message(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                        size_t index, bool undo, bool *call_out, struct dbk_error *err)
{
    struct dbk_saga_message message;
    size_t definition = 0;
    struct dbk_saga_step *step = &record->steps[index];
    struct dbk_slice key = key_of(machine, step, undo);
    int rc =
        key.data == NULL ? dbk_saga_no_memory(err) : definition_of(machine, step, &definition, err);
    if (rc == DBK_OK)
        rc = dbk_saga_script_send(machine->script,
                                  &(struct dbk_saga_sending){.step = definition,
                                                             .undo = undo,
                                                             .state = record->state,
                                                             .key = key,
                                                             .reason = record->reason},
                                  machine->arena, &message, err);
    if (rc < 0)
        return rc;
    step->attempt++;
    step->sends++;
    step->call = message.call;
    step->error = (struct dbk_slice){0};
    *call_out = message.call.size > 0;
    return add_sends(machine, &message, index, step, key, err);
}

/* An answer came, or none is waited for. */
int dbk_saga_step_succeeds(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                           size_t index, const struct dbk_saga_input *input, struct dbk_error *err)
{
    struct dbk_saga_step *step = &record->steps[index];
    size_t definition = 0;
    step->phase = DBK_SAGA_STEP_DONE;
    step->due_us = 0;
    step->call = (struct dbk_slice){0};
    int rc = definition_of(machine, step, &definition, err);
    if (rc < 0 || record->status != DBK_SAGA_RUNNING || !at(machine, definition)->after)
        return rc;
    return dbk_saga_call_function(
        machine, record,
        &(struct dbk_saga_call){.function = DBK_SAGA_AFTER,
                                .name = step->name,
                                .event = input == NULL ? NULL : input->event,
                                .reply = input == NULL ? (struct dbk_slice){0} : input->reply},
        err);
}

int dbk_saga_send_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                       size_t index, struct dbk_error *err)
{
    size_t definition = 0;
    bool call = false;
    int rc = definition_of(machine, &record->steps[index], &definition, err);
    if (rc == DBK_OK)
        rc = send_message(machine, record, index, false, &call, err);
    if (rc < 0)
        return rc;
    struct dbk_saga_step *step = &record->steps[index];
    step->phase = DBK_SAGA_SENT;
    step->due_us = call ? 0 : machine->now_us + at(machine, definition)->timeout_us;
    return call || at(machine, definition)->done
               ? DBK_OK
               : dbk_saga_step_succeeds(machine, record, index, NULL, err);
}

int dbk_saga_send_undo(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                       size_t index, struct dbk_error *err)
{
    size_t definition = 0;
    bool call = false;
    int rc = definition_of(machine, &record->steps[index], &definition, err);
    if (rc == DBK_OK)
        rc = send_message(machine, record, index, true, &call, err);
    if (rc < 0)
        return rc;
    struct dbk_saga_step *step = &record->steps[index];
    bool waits = call || at(machine, definition)->undone;
    step->phase = waits ? DBK_SAGA_UNDOING : DBK_SAGA_STEP_UNDONE;
    step->due_us = call || !waits ? 0 : machine->now_us + at(machine, definition)->timeout_us;
    return DBK_OK;
}

/* ---- Wishes ---- */

static int begin_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                      size_t definition, struct dbk_error *err)
{
    struct dbk_slice key = {0};
    struct dbk_slice lock = {0};
    const struct dbk_saga_step_definition *declared = at(machine, definition);
    int rc =
        dbk_saga_script_key(machine->script, definition, record->state, machine->arena, &key, err);
    if (rc == DBK_OK)
        rc = dbk_saga_script_lock(machine->script, definition, record->state, machine->arena, &lock,
                                  err);
    if (rc < 0)
        return rc;
    struct dbk_saga_step *step = dbk_saga_add_step(record, machine->arena);
    if (step == NULL)
        return dbk_error_set(err, DBK_ESCRIPT, "sagas/%.*s.lua: an instance takes at most %d steps",
                             DBK_SLICE_ARGS(machine->name), DBK_SAGA_STEPS_MAX);
    step->name = dbk_slice_of(declared->name);
    step->key = key;
    step->lock = lock;
    if (lock.size > 0 && !machine->take_lock(machine->context, lock)) {
        step->phase = DBK_SAGA_WAITS;
        step->due_us = machine->now_us + declared->timeout_us;
        step->since = machine->position;
        return DBK_OK;
    }
    return dbk_saga_send_step(machine, record, record->step_count - 1, err);
}

static int set_timer(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                     const struct dbk_saga_action *action, struct dbk_error *err)
{
    size_t index = 0;
    while (index < record->timer_count &&
           !dbk_slice_equal(record->timers[index].name, action->name))
        index++;
    if (index == record->timer_count) {
        if (dbk_saga_add_timer(record, machine->arena) == NULL)
            return dbk_saga_no_memory(err);
        record->timers[index].name = action->name;
    }
    record->timers[index].due_us = machine->now_us + action->delay_us;
    return DBK_OK;
}

void dbk_saga_stop_timer(struct dbk_saga_record *record, size_t index)
{
    for (size_t i = index + 1; i < record->timer_count; i++)
        record->timers[i - 1] = record->timers[i];
    record->timer_count--;
}

void dbk_saga_compensate(struct dbk_saga_record *record, struct dbk_slice reason)
{
    if (record->status != DBK_SAGA_RUNNING)
        return;
    record->status = DBK_SAGA_COMPENSATING;
    record->reason = reason;
    record->timer_count = 0;
    record->complete = false;
}

static int fulfil(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                  const struct dbk_saga_action *action, struct dbk_error *err)
{
    switch (action->kind) {
    case DBK_SAGA_BEGIN:
        return begin_step(machine, record, action->step, err);
    case DBK_SAGA_COMPLETE:
        record->complete = true;
        return DBK_OK;
    case DBK_SAGA_FAIL:
        dbk_saga_compensate(record,
                            action->name.size > 0 ? action->name : DBK_SLICE_LITERAL("it failed"));
        return DBK_OK;
    case DBK_SAGA_TIMER:
        return set_timer(machine, record, action, err);
    case DBK_SAGA_STOP:
        for (size_t i = 0; i < record->timer_count; i++) {
            if (dbk_slice_equal(record->timers[i].name, action->name)) {
                dbk_saga_stop_timer(record, i);
                break;
            }
        }
        return DBK_OK;
    }
    return DBK_OK;
}

/* Calls a function of the file, and does what it wishes. */
int dbk_saga_call_function(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                           const struct dbk_saga_call *call, struct dbk_error *err)
{
    struct dbk_saga_answer answer;
    struct dbk_saga_call full = *call;
    full.state = record->state;
    int rc = dbk_saga_script_run(machine->script, &full, machine->arena, &answer, err);
    if (rc < 0)
        return rc;
    record->state = answer.state;
    for (size_t i = 0; rc == DBK_OK && i < answer.count && record->status == DBK_SAGA_RUNNING; i++)
        rc = fulfil(machine, record, &answer.actions[i], err);
    return rc;
}

/* A step came to nothing, or nobody knows: the file goes another way, or all is undone. */
int dbk_saga_break_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                        size_t index, struct dbk_slice why, struct dbk_error *err)
{
    size_t definition = 0;
    struct dbk_saga_step *step = &record->steps[index];
    step->due_us = 0;
    step->call = (struct dbk_slice){0};
    step->error = why;
    int rc = definition_of(machine, step, &definition, err);
    if (rc < 0 || record->status != DBK_SAGA_RUNNING)
        return rc;
    if (at(machine, definition)->otherwise)
        return dbk_saga_call_function(
            machine, record,
            &(struct dbk_saga_call){.function = DBK_SAGA_OTHERWISE, .name = step->name, .why = why},
            err);
    char *reason = dbk_arena_format(machine->arena, "%.*s: %.*s", DBK_SLICE_ARGS(step->name),
                                    DBK_SLICE_ARGS(why));
    if (reason == NULL)
        return dbk_saga_no_memory(err);
    dbk_saga_compensate(record, dbk_slice_of(reason));
    return DBK_OK;
}

/* ---- Trying again ---- */

/* A step, or its undoing, has no answer yet: it is sent again later, or its tries are used up. */
int dbk_saga_pause_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                        size_t index, struct dbk_slice why, struct dbk_error *err)
{
    size_t definition = 0;
    struct dbk_saga_step *step = &record->steps[index];
    bool undo = step->phase == DBK_SAGA_UNDOING;
    int rc = definition_of(machine, step, &definition, err);
    if (rc < 0)
        return rc;
    const struct dbk_saga_step_definition *declared = at(machine, definition);
    step->call = (struct dbk_slice){0};
    step->error = why;
    if (step->attempt < declared->tries && (undo || record->status == DBK_SAGA_RUNNING)) {
        int64_t delay_us = declared->delay_us;
        for (uint64_t i = 1; i < step->attempt && delay_us < declared->delay_max_us; i++)
            delay_us *= 2;
        if (delay_us > declared->delay_max_us)
            delay_us = declared->delay_max_us;
        step->due_us = machine->now_us + delay_us;
        step->phase = undo ? DBK_SAGA_UNDO_PAUSED : DBK_SAGA_PAUSED;
        return DBK_OK;
    }
    step->due_us = 0;
    if (!undo) {
        step->phase = DBK_SAGA_STEP_UNKNOWN;
        return dbk_saga_break_step(machine, record, index, why, err);
    }
    char *fault = dbk_arena_format(machine->arena, "its step %.*s could not be undone: %.*s",
                                   DBK_SLICE_ARGS(step->name), DBK_SLICE_ARGS(why));
    if (fault == NULL)
        return dbk_saga_no_memory(err);
    record->fault = dbk_slice_of(fault);
    record->fault_step = index + 1;
    return DBK_OK;
}

/* ---- Getting on ---- */

/* What a step did is undone, or stays. 1: it is settled; 0: its undoing is under way. */
static int undo_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record, size_t index,
                     struct dbk_error *err)
{
    struct dbk_saga_step *step = &record->steps[index];
    size_t definition = 0;
    int rc = definition_of(machine, step, &definition, err);
    if (rc < 0)
        return rc;
    step->due_us = 0;
    if (!at(machine, definition)->undo) {
        step->phase = DBK_SAGA_KEPT;
        return 1;
    }
    step->attempt = 0;
    rc = dbk_saga_send_undo(machine, record, index, err);
    return rc < 0 ? rc : record->steps[index].phase == DBK_SAGA_STEP_UNDONE;
}

/* 1: the step is settled; 0: it is under way, or has just been sent. */
static int settle(struct dbk_saga_machine *machine, struct dbk_saga_record *record, size_t index,
                  struct dbk_error *err)
{
    struct dbk_saga_step *step = &record->steps[index];
    switch (step->phase) {
    case DBK_SAGA_WAITS:
        step->phase = DBK_SAGA_SKIPPED;
        step->due_us = 0;
        return 1;
    case DBK_SAGA_PAUSED: /* nobody knows whether its last try did something */
    case DBK_SAGA_STEP_DONE:
    case DBK_SAGA_STEP_UNKNOWN:
        return undo_step(machine, record, index, err);
    case DBK_SAGA_SENT:
    case DBK_SAGA_UNDOING:
    case DBK_SAGA_UNDO_PAUSED:
        return 0;
    case DBK_SAGA_STEP_FAILED:
    case DBK_SAGA_SKIPPED:
    case DBK_SAGA_STEP_UNDONE:
    case DBK_SAGA_KEPT:
        return 1;
    }
    return 1;
}

static bool under_way(const struct dbk_saga_step *step)
{
    return step->phase == DBK_SAGA_WAITS || step->phase == DBK_SAGA_SENT ||
           step->phase == DBK_SAGA_PAUSED;
}

int dbk_saga_advance(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                     struct dbk_error *err)
{
    if (dbk_saga_is_parked(record))
        return DBK_OK;
    if (record->status == DBK_SAGA_RUNNING && record->complete) {
        for (size_t i = 0; i < record->step_count; i++) {
            if (under_way(&record->steps[i]))
                return DBK_OK;
        }
        record->status = DBK_SAGA_COMPLETED;
    }
    for (size_t i = record->step_count; record->status == DBK_SAGA_COMPENSATING; i--) {
        if (i == 0) {
            record->status = DBK_SAGA_COMPENSATED;
            break;
        }
        int rc = settle(machine, record, i - 1, err);
        if (rc <= 0)
            return rc;
    }
    if (!dbk_saga_is_open(record)) {
        record->timer_count = 0;
        record->stash_count = 0;
    }
    return DBK_OK;
}
