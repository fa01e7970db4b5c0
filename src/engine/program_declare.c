/* SPDX-License-Identifier: Apache-2.0 */
/* What a program declares of a saga in C, read and checked once, as a file is. */
#include <string.h>

#include "engine/library.h"
#include "saga/functions.h"

struct declaring {
    const struct daybook_saga *saga;
    struct dbk_saga_definition *definition;
    struct dbk_saga_route *routes;
    struct dbk_error *err;
};

static int wrong(const struct declaring *declaring, const char *of, const char *why)
{
    return dbk_error_set(declaring->err, DBK_EINVAL, "saga %s: %s %s", declaring->saga->name,
                         of == NULL || *of == '\0' ? "(no name)" : of, why);
}

static int add_route(struct declaring *declaring, const char *type, daybook_saga_text_fn of,
                     enum dbk_saga_role role, size_t step)
{
    struct dbk_saga_definition *definition = declaring->definition;
    if (type == NULL || *type == '\0' || of == NULL)
        return wrong(declaring, type, "needs a type, and `by`: which instance an event is of");
    for (size_t i = 0; i < definition->route_count; i++) {
        if (dbk_slice_equal_text(definition->routes[i].type, type))
            return wrong(declaring, type,
                         "stands in two places: an event type means one thing to a saga");
    }
    declaring->routes[definition->route_count++] =
        (struct dbk_saga_route){.type = dbk_slice_of(type), .role = role, .step = step};
    return DBK_OK;
}

static int add_replies(struct declaring *declaring, const struct daybook_saga_reply *replies,
                       size_t count, enum dbk_saga_role role, size_t step)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = add_route(declaring, replies[i].type, replies[i].by, role, step);
    return rc;
}

static int add_step(struct declaring *declaring, size_t index, struct dbk_saga_step_definition *out)
{
    const struct daybook_saga_step *step = &declaring->saga->steps[index];
    if (step->name == NULL || *step->name == '\0' || step->send == NULL)
        return wrong(declaring, step->name, "needs a name, and `send`: what it sends");
    for (size_t i = 0; i < index; i++) {
        if (strcmp(declaring->saga->steps[i].name, step->name) == 0)
            return wrong(declaring, step->name, "is there twice");
    }
    if ((step->undo != NULL) == (step->keeps != 0))
        return wrong(declaring, step->name, "needs a compensation: `undo`, or `keeps` without one");
    if (step->timeout_us <= 0 || step->delay_us < 0 || step->delay_max_us < 0)
        return wrong(declaring, step->name, "needs a timeout, and delays that are none or more");
    if (step->key == NULL)
        return wrong(declaring, step->name, "needs an idempotency key: `key`");
    if (step->failed_count > 0 && step->done_count == 0)
        return wrong(declaring, step->name, "has `failed`, which needs `done`");
    if (step->undone_count > 0 && step->undo == NULL)
        return wrong(declaring, step->name, "has `undone`, which needs `undo`");
    *out = (struct dbk_saga_step_definition){
        .name = step->name,
        .timeout_us = step->timeout_us,
        .tries = step->tries == 0 ? DBK_SAGA_TRIES_DEFAULT : step->tries,
        .delay_us = step->delay_us == 0 ? DBK_SAGA_DELAY_DEFAULT_US : step->delay_us,
        .delay_max_us =
            step->delay_max_us == 0 ? DBK_SAGA_DELAY_MAX_DEFAULT_US : step->delay_max_us,
        .undo = step->undo != NULL,
        .done = step->done_count > 0,
        .undone = step->undone_count > 0,
        .lock = step->lock != NULL,
        .after = step->after != NULL,
        .otherwise = step->otherwise != NULL};
    if (out->delay_max_us < out->delay_us)
        out->delay_max_us = out->delay_us;
    int rc = add_replies(declaring, step->done, step->done_count, DBK_SAGA_DONE, index);
    if (rc == DBK_OK)
        rc = add_replies(declaring, step->failed, step->failed_count, DBK_SAGA_FAILED, index);
    if (rc == DBK_OK)
        rc = add_replies(declaring, step->undone, step->undone_count, DBK_SAGA_UNDONE, index);
    return rc;
}

static int add_events(struct declaring *declaring)
{
    const struct daybook_saga *saga = declaring->saga;
    bool starts = false;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < saga->on_count; i++) {
        bool begins = saga->on[i].starts != 0;
        if (saga->on[i].run == NULL)
            return wrong(declaring, saga->on[i].type, "needs `run`");
        rc = add_route(declaring, saga->on[i].type, saga->on[i].by,
                       begins ? DBK_SAGA_START : DBK_SAGA_ON, 0);
        starts = starts || begins;
    }
    return rc == DBK_OK && !starts ? wrong(declaring, "on", "begins no instance: set `starts`")
                                   : rc;
}

int dbk_library_declare_saga(const struct daybook_saga *saga, struct dbk_arena *arena,
                             struct dbk_saga_definition *definition_out, struct dbk_error *err)
{
    struct declaring declaring = {.saga = saga, .definition = definition_out, .err = err};
    size_t count = saga->on_count;
    for (size_t i = 0; i < saga->step_count; i++)
        count +=
            saga->steps[i].done_count + saga->steps[i].failed_count + saga->steps[i].undone_count;
    struct dbk_saga_step_definition *steps =
        dbk_arena_alloc_zero(arena, saga->step_count + 1, sizeof(*steps));
    struct dbk_slice *timers = dbk_arena_alloc_zero(arena, saga->timer_count + 1, sizeof(*timers));
    declaring.routes = dbk_arena_alloc_zero(arena, count + 1, sizeof(*declaring.routes));
    if (steps == NULL || timers == NULL || declaring.routes == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory adding a saga");
    *definition_out = (struct dbk_saga_definition){
        .unmatched = (enum dbk_saga_unmatched)(saga->unmatched - DAYBOOK_SAGA_IGNORE),
        .from_start = saga->from_start != 0,
        .steps = steps,
        .step_count = saga->step_count,
        .routes = declaring.routes,
        .timers = timers,
        .timer_count = saga->timer_count};
    if (saga->unmatched < DAYBOOK_SAGA_IGNORE || saga->unmatched > DAYBOOK_SAGA_WAIT)
        return wrong(&declaring, "unmatched",
                     "must be said: what becomes of an event whose instance has not begun");
    int rc = add_events(&declaring);
    for (size_t i = 0; rc == DBK_OK && i < saga->step_count; i++)
        rc = add_step(&declaring, i, &steps[i]);
    for (size_t i = 0; rc == DBK_OK && i < saga->timer_count; i++) {
        if (saga->timers[i].name == NULL || saga->timers[i].run == NULL)
            return wrong(&declaring, saga->timers[i].name, "needs a name and `run`");
        timers[i] = dbk_slice_of(saga->timers[i].name);
    }
    return rc;
}
