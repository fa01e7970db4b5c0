/* SPDX-License-Identifier: Apache-2.0 */
#include "saga/record.h"

#include <string.h>

static const char *const statuses[] = {"waiting",   "running",     "compensating",
                                       "completed", "compensated", "dropped"};
#define STATUS_COUNT (sizeof(statuses) / sizeof(statuses[0]))
static const char *const phases[DBK_SAGA_PHASES] = {"waits",       "sent",    "paused",  "done",
                                                    "failed",      "unknown", "skipped", "undoing",
                                                    "undo-paused", "undone",  "kept"};

bool dbk_saga_is_open(const struct dbk_saga_record *record)
{
    return record->status <= DBK_SAGA_COMPENSATING;
}

bool dbk_saga_is_parked(const struct dbk_saga_record *record)
{
    return record->fault.size > 0;
}

const char *dbk_saga_status_name(enum dbk_saga_status status)
{
    return statuses[status];
}

const char *dbk_saga_phase_name(enum dbk_saga_phase phase)
{
    return phases[phase];
}

int64_t dbk_saga_due_us(const struct dbk_saga_record *record)
{
    int64_t due_us = INT64_MAX;
    if (!dbk_saga_is_open(record) || dbk_saga_is_parked(record))
        return due_us;
    if (record->stash_count > 0 && record->status != DBK_SAGA_WAITING)
        return 0; /* at once */
    for (size_t i = 0; i < record->step_count; i++) {
        if (record->steps[i].due_us > 0 && record->steps[i].due_us < due_us)
            due_us = record->steps[i].due_us;
    }
    for (size_t i = 0; i < record->timer_count; i++) {
        if (record->timers[i].due_us < due_us)
            due_us = record->timers[i].due_us;
    }
    return due_us;
}

/* ---- Growing: arrays double when their count is a power of two ---- */

static void *grow(struct dbk_arena *arena, const void *items, size_t count, size_t size)
{
    if (count > 0 && (count & (count - 1)) != 0)
        return NULL; /* there is room */
    char *more = dbk_arena_alloc(arena, (count == 0 ? 1 : count * 2) * size);
    if (more != NULL && count > 0)
        memcpy(more, items, count * size);
    return more;
}

static bool has_room(size_t count)
{
    return count > 0 && (count & (count - 1)) != 0;
}

struct dbk_saga_step *dbk_saga_add_step(struct dbk_saga_record *record, struct dbk_arena *arena)
{
    if (record->step_count == DBK_SAGA_STEPS_MAX)
        return NULL;
    struct dbk_saga_step *more =
        grow(arena, record->steps, record->step_count, sizeof(*record->steps));
    if (more != NULL)
        record->steps = more;
    else if (!has_room(record->step_count))
        return NULL;
    record->steps[record->step_count] = (struct dbk_saga_step){0};
    return &record->steps[record->step_count++];
}

struct dbk_saga_timer *dbk_saga_add_timer(struct dbk_saga_record *record, struct dbk_arena *arena)
{
    if (record->timer_count == DBK_SAGA_TIMERS_MAX)
        return NULL;
    struct dbk_saga_timer *more = dbk_arena_alloc_zero(
        arena, record->timer_count + 1, sizeof(*more)); /* they also get fewer: copied each time */
    if (more == NULL)
        return NULL;
    for (size_t i = 0; i < record->timer_count; i++)
        more[i] = record->timers[i];
    record->timers = more;
    return &record->timers[record->timer_count++];
}

int dbk_saga_add_stash(struct dbk_saga_record *record, struct dbk_slice input, bool first,
                       struct dbk_arena *arena, struct dbk_error *err)
{
    if (record->stash_count == DBK_SAGA_STASH_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "%d events wait for it already: retry or cancel it",
                             DBK_SAGA_STASH_MAX);
    struct dbk_slice *more = dbk_arena_alloc_zero(arena, record->stash_count + 1, sizeof(*more));
    if (more == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory running a saga");
    for (size_t i = 0; i < record->stash_count; i++)
        more[i + (first ? 1 : 0)] = record->stash[i];
    more[first ? 0 : record->stash_count] = input;
    record->stash = more;
    record->stash_count++;
    return DBK_OK;
}

/* ---- Writing ---- */

static void put_text(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice text)
{
    if (text.size == 0)
        return;
    dbk_json_write_key(out, first, key);
    dbk_json_write_string(out, text);
}

static void put_json(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice json)
{
    if (json.size == 0)
        return;
    dbk_json_write_key(out, first, key);
    dbk_buf_append(out, json);
}

static void put_number(struct dbk_buf *out, bool *first, const char *key, uint64_t number)
{
    if (number == 0)
        return;
    dbk_json_write_key(out, first, key);
    dbk_json_write_u64(out, number);
}

static void put_step(struct dbk_buf *out, const struct dbk_saga_step *step)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    put_text(out, &first, "step", step->name);
    put_text(out, &first, "phase", dbk_slice_of(phases[step->phase]));
    put_number(out, &first, "attempt", step->attempt);
    put_number(out, &first, "sends", step->sends);
    put_number(out, &first, "due_us", (uint64_t)step->due_us);
    put_number(out, &first, "since", step->since);
    put_text(out, &first, "key", step->key);
    put_text(out, &first, "lock", step->lock);
    put_json(out, &first, "call", step->call);
    put_text(out, &first, "error", step->error);
    dbk_buf_append_char(out, '}');
}

static void put_lists(const struct dbk_saga_record *record, struct dbk_buf *out, bool *first)
{
    if (record->step_count > 0)
        dbk_json_write_key(out, first, "steps");
    for (size_t i = 0; i < record->step_count; i++) {
        dbk_buf_append_char(out, i == 0 ? '[' : ',');
        put_step(out, &record->steps[i]);
    }
    dbk_buf_append_text(out, record->step_count > 0 ? "]" : "");
    if (record->timer_count > 0)
        dbk_json_write_key(out, first, "timers");
    for (size_t i = 0; i < record->timer_count; i++) {
        bool one = true;
        dbk_buf_append_text(out, i == 0 ? "[{" : ",{");
        put_text(out, &one, "timer", record->timers[i].name);
        put_number(out, &one, "due_us", (uint64_t)record->timers[i].due_us);
        dbk_buf_append_char(out, '}');
    }
    dbk_buf_append_text(out, record->timer_count > 0 ? "]" : "");
}

void dbk_saga_record_write(const struct dbk_saga_record *record, struct dbk_slice on,
                           struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    put_json(out, &first, "on", on);
    put_text(out, &first, "status", dbk_slice_of(statuses[record->status]));
    put_number(out, &first, "read", record->read);
    put_json(out, &first, "state", record->state);
    put_text(out, &first, "reason", record->reason);
    if (record->complete)
        put_json(out, &first, "complete", DBK_SLICE_LITERAL("true"));
    put_lists(record, out, &first);
    if (record->fault.size > 0) {
        bool one = true;
        dbk_json_write_key(out, &first, "fault");
        dbk_buf_append_char(out, '{');
        put_text(out, &one, "error", record->fault);
        put_json(out, &one, "input", record->fault_input);
        put_number(out, &one, "step", record->fault_step);
        dbk_buf_append_char(out, '}');
    }
    if (record->stash_count > 0)
        dbk_json_write_key(out, &first, "stash");
    for (size_t i = 0; i < record->stash_count; i++) {
        dbk_buf_append_char(out, i == 0 ? '[' : ',');
        dbk_buf_append(out, record->stash[i]);
    }
    dbk_buf_append_text(out, record->stash_count > 0 ? "]" : "");
    dbk_buf_append_char(out, '}');
}

/* ---- Reading ---- */

struct reading {
    struct dbk_arena *arena;
    struct dbk_error *err;
    int rc; /* the first thing wrong */
};

static void wrong(struct reading *reading, const char *what)
{
    if (reading->rc == DBK_OK)
        reading->rc =
            dbk_error_set(reading->err, DBK_ECORRUPT, "a saga's record has no sound `%s`", what);
}

static struct dbk_slice keep(struct reading *reading, struct dbk_slice text)
{
    struct dbk_slice copy = dbk_arena_copy(reading->arena, text);
    if (copy.data == NULL && reading->rc == DBK_OK)
        reading->rc = dbk_error_set(reading->err, DBK_ENOMEM, "out of memory reading a saga");
    return copy;
}

static struct dbk_slice text_of(struct reading *reading, const struct dbk_json_node *object,
                                const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    if (node == NULL)
        return (struct dbk_slice){0};
    if (node->kind != DBK_JSON_STRING) {
        wrong(reading, key);
        return (struct dbk_slice){0};
    }
    return keep(reading, node->text);
}

static struct dbk_slice json_of(struct reading *reading, const struct dbk_json_node *object,
                                const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    if (node != NULL && node->kind != DBK_JSON_OBJECT)
        wrong(reading, key);
    return node == NULL ? (struct dbk_slice){0} : keep(reading, node->raw);
}

static uint64_t number_of(struct reading *reading, const struct dbk_json_node *object,
                          const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    if (node != NULL && (node->kind != DBK_JSON_INTEGER || node->integer < 0))
        wrong(reading, key);
    return node == NULL || node->kind != DBK_JSON_INTEGER ? 0 : (uint64_t)node->integer;
}

static size_t name_of(struct reading *reading, const struct dbk_json_node *object, const char *key,
                      const char *const *names, size_t count)
{
    const struct dbk_json_node *node = dbk_json_member(object, key);
    for (size_t i = 0; node != NULL && node->kind == DBK_JSON_STRING && i < count; i++) {
        if (dbk_slice_equal_text(node->text, names[i]))
            return i;
    }
    wrong(reading, key);
    return 0;
}

/* The children of a list that may be missing; all are objects. */
static const struct dbk_json_node *list_of(struct reading *reading,
                                           const struct dbk_json_node *object, const char *key,
                                           size_t *count_out)
{
    const struct dbk_json_node *list = dbk_json_member(object, key);
    *count_out = 0;
    if (list == NULL)
        return NULL;
    if (list->kind != DBK_JSON_ARRAY) {
        wrong(reading, key);
        return NULL;
    }
    const struct dbk_json_node *at = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, at = dbk_json_sibling(at)) {
        if (at->kind != DBK_JSON_OBJECT) {
            wrong(reading, key);
            return NULL;
        }
    }
    *count_out = list->count;
    return dbk_json_first(list);
}

static void read_steps(struct reading *reading, const struct dbk_json_node *root,
                       struct dbk_saga_record *record)
{
    size_t count = 0;
    const struct dbk_json_node *at = list_of(reading, root, "steps", &count);
    for (size_t i = 0; i < count && reading->rc == DBK_OK; i++, at = dbk_json_sibling(at)) {
        struct dbk_saga_step *step = dbk_saga_add_step(record, reading->arena);
        if (step == NULL) {
            wrong(reading, "steps");
            return;
        }
        step->name = text_of(reading, at, "step");
        step->phase = (enum dbk_saga_phase)name_of(reading, at, "phase", phases, DBK_SAGA_PHASES);
        step->attempt = number_of(reading, at, "attempt");
        step->sends = number_of(reading, at, "sends");
        step->due_us = (int64_t)number_of(reading, at, "due_us");
        step->since = number_of(reading, at, "since");
        step->key = text_of(reading, at, "key");
        step->lock = text_of(reading, at, "lock");
        step->call = json_of(reading, at, "call");
        step->error = text_of(reading, at, "error");
    }
}

static void read_timers(struct reading *reading, const struct dbk_json_node *root,
                        struct dbk_saga_record *record)
{
    size_t count = 0;
    const struct dbk_json_node *at = list_of(reading, root, "timers", &count);
    for (size_t i = 0; i < count && reading->rc == DBK_OK; i++, at = dbk_json_sibling(at)) {
        struct dbk_saga_timer *timer = dbk_saga_add_timer(record, reading->arena);
        if (timer == NULL) {
            wrong(reading, "timers");
            return;
        }
        timer->name = text_of(reading, at, "timer");
        timer->due_us = (int64_t)number_of(reading, at, "due_us");
    }
}

static void read_stash(struct reading *reading, const struct dbk_json_node *root,
                       struct dbk_saga_record *record)
{
    size_t count = 0;
    const struct dbk_json_node *at = list_of(reading, root, "stash", &count);
    for (size_t i = 0; i < count && reading->rc == DBK_OK; i++, at = dbk_json_sibling(at)) {
        struct dbk_error failure = {0};
        struct dbk_slice text = keep(reading, at->raw);
        if (reading->rc == DBK_OK &&
            dbk_saga_add_stash(record, text, false, reading->arena, &failure) < 0)
            wrong(reading, "stash");
    }
}

int dbk_saga_record_read(struct dbk_json *json, struct dbk_slice text, struct dbk_arena *arena,
                         struct dbk_saga_record *record_out, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    struct reading reading = {.arena = arena, .err = err};
    struct dbk_saga_record *record = record_out;
    *record = (struct dbk_saga_record){0};
    int rc = dbk_json_parse(json, text, &root, &failure);
    if (rc < 0 || root->kind != DBK_JSON_OBJECT)
        return rc == DBK_ENOMEM
                   ? dbk_error_set(err, rc, "out of memory reading a saga")
                   : dbk_error_set(err, DBK_ECORRUPT, "a saga's record is no JSON object");
    record->status =
        (enum dbk_saga_status)name_of(&reading, root, "status", statuses, STATUS_COUNT);
    record->read = number_of(&reading, root, "read");
    record->state = json_of(&reading, root, "state");
    record->reason = text_of(&reading, root, "reason");
    const struct dbk_json_node *complete = dbk_json_member(root, "complete");
    record->complete = complete != NULL && complete->kind == DBK_JSON_TRUE;
    read_steps(&reading, root, record);
    read_timers(&reading, root, record);
    read_stash(&reading, root, record);
    const struct dbk_json_node *fault = dbk_json_member(root, "fault");
    if (fault != NULL) {
        record->fault = text_of(&reading, fault, "error");
        record->fault_input = json_of(&reading, fault, "input");
        record->fault_step = number_of(&reading, fault, "step");
        if (record->fault.size == 0 || record->fault_step > record->step_count)
            wrong(&reading, "fault");
    }
    return reading.rc;
}
