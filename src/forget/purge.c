/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that was made of forgotten events is made again, or thrown away. In this order: what
 * views read is clean before they are refreshed, and SubjectPurged is appended behind all of it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/assert.h"
#include "forget/state.h"
#include "view/changes.h"

/* How long a model may take to get to where its subject was forgotten. */
#define MODEL_TIMEOUT_US (INT64_C(60) * 1000000)
/* Events of one append. */
#define BATCH 500
#define DATA_SIZE_MAX ((size_t)8192)

struct counts {
    uint64_t snapshots;
    uint64_t rebuilt;
    uint64_t purged;
    uint64_t views;
    uint64_t as_of;
    uint64_t groups;
    uint64_t parked;
};

struct purging {
    struct dbk_forget *forget;
    const struct dbk_forget_run *run;
    struct dbk_traces traces;
    struct counts counts;
};

int dbk_forget_tell(struct dbk_forget *forget, const struct dbk_forget_run *run, uint64_t subjects,
                    struct dbk_error *err, const char *format, ...)
{
    char step[sizeof(forget->step)];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(step, sizeof(step), format, arguments);
    va_end(arguments);
    (void)pthread_mutex_lock(&forget->lock);
    (void)snprintf(forget->step, sizeof(forget->step), "%s", step);
    (void)pthread_mutex_unlock(&forget->lock);
    bool goes_on = !atomic_load(&forget->ends);
    if (goes_on && run->progress != NULL)
        goes_on = run->progress(run->context,
                                &(struct dbk_forget_progress){.step = step, .subjects = subjects});
    return goes_on
               ? DBK_OK
               : dbk_error_set(err, DBK_ESTOPPED,
                               "forgetting was ended before: %s; the next one goes on there", step);
}

static int drop_snapshots(struct purging *purging, struct dbk_error *err)
{
    const struct dbk_traces *traces = &purging->traces;
    return dbk_folds_forget(purging->forget->options.folds, traces->streams, traces->stream_count,
                            &purging->counts.snapshots, err);
}

static bool goes_on(void *context, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    return !atomic_load(&((struct purging *)context)->forget->ends);
}

static int purge_models(struct purging *purging, struct dbk_error *err)
{
    struct dbk_models *models = purging->forget->options.models;
    struct dbk_model_forgetting what = {.subjects = purging->traces.subjects,
                                        .count = purging->traces.count,
                                        .timeout_us = MODEL_TIMEOUT_US,
                                        .progress = goes_on,
                                        .context = purging};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < dbk_models_count(models); i++) {
        struct dbk_model_status status;
        enum dbk_model_forgot forgot = DBK_FORGOT_NOTHING;
        rc = dbk_models_status(models, i, &status, err);
        if (rc == DBK_OK)
            rc = dbk_forget_tell(purging->forget, purging->run, what.count, err, "read model %s",
                                 status.name);
        if (rc == DBK_OK)
            rc = dbk_models_forget(models, i, &what, &forgot, err);
        purging->counts.rebuilt += forgot == DBK_FORGOT_REBUILT;
        purging->counts.purged += forgot == DBK_FORGOT_PURGED;
    }
    return rc;
}

/* A refresh that was under way when what it reads was purged may have read what that was before: it
   is refreshed once more. One that was never refreshed may be in its first. */
static int refresh_view(struct purging *purging, size_t index, struct dbk_error *err)
{
    const struct dbk_forget_options *options = &purging->forget->options;
    struct dbk_views *views = options->views;
    int64_t since_us = options->os->now_us(options->os);
    struct dbk_view_status status;
    int rc = dbk_views_status(views, index, &status, err);
    if (rc < 0 || (status.generation == 0 && !status.refreshing))
        return rc;
    rc = dbk_forget_tell(purging->forget, purging->run, purging->traces.count, err, "view %s",
                         status.name);
    /* Rolled back to behind the refresh, what is kept would serve as it was before. */
    if (rc == DBK_OK)
        rc = dbk_views_forget_kept(views, status.name, err);
    for (int tries = 0; rc == DBK_OK && status.as_of_us < since_us && tries < 2; tries++) {
        rc = dbk_views_refresh(views, status.name, 0, goes_on, purging, err);
        if (rc == DBK_OK)
            rc = dbk_views_status(views, index, &status, err);
    }
    /* What its refreshes changed may hold what was purged. */
    if (rc == DBK_OK)
        rc = dbk_views_forget_changes(views, status.name, err);
    /* And so may the generation before, which nobody refreshes, if these put it aside. */
    if (rc == DBK_OK)
        rc = dbk_views_forget_kept(views, status.name, err);
    purging->counts.views += rc == DBK_OK;
    return rc;
}

/* What views followed each other by is removed with the refresh of the last that follows. */
static int refresh_views(struct purging *purging, struct dbk_error *err)
{
    struct dbk_views *views = purging->forget->options.views;
    size_t count = dbk_views_count(views);
    size_t *order = dbk_alloc_zero(count + 1, sizeof(*order));
    if (order == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "views: %s", dbk_code_text(DBK_ENOMEM));
    dbk_views_order(views, order);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = refresh_view(purging, order[i], err);
    dbk_free(order);
    return rc == DBK_OK ? dbk_views_checkpoint(views, err) : rc;
}

static int remove_as_of(struct purging *purging, struct dbk_error *err)
{
    const struct dbk_forget_options *options = &purging->forget->options;
    return dbk_models_as_of_remove(
        options->models, &(struct dbk_as_of_removal){.os = options->os, .folder = options->as_of},
        &purging->counts.as_of, err);
}

static int is_meant(void *context, uint64_t position, struct dbk_error *err)
{
    const struct purging *purging = context;
    (void)err;
    return dbk_traces_has(&purging->traces, position);
}

static int purge_groups(struct purging *purging, struct dbk_error *err)
{
    struct dbk_group_purged purged = {0};
    int rc = dbk_groups_purge(purging->forget->options.groups,
                              &(struct dbk_group_purge){is_meant, purging}, &purged, err);
    purging->counts.groups = purged.groups;
    purging->counts.parked = purged.parked;
    return rc;
}

static void encode(struct dbk_buf *out, const struct purging *purging, const struct dbk_uuid *key)
{
    const struct counts *counts = &purging->counts;
    char hex[33];
    dbk_subject_hex(key, hex);
    dbk_buf_append_format(
        out,
        "{\"key\":\"%s\",\"what\":{\"subjects\":%zu,\"snapshots\":%ju,\"models\":{\"rebuilt\":%ju,"
        "\"purged\":%ju},\"views\":%ju,\"as_of\":%ju,\"parked\":%ju,\"groups\":%ju}}",
        hex, purging->traces.count, (uintmax_t)counts->snapshots, (uintmax_t)counts->rebuilt,
        (uintmax_t)counts->purged, (uintmax_t)counts->views, (uintmax_t)counts->as_of,
        (uintmax_t)counts->parked, (uintmax_t)counts->groups);
}

static int say_batch(struct purging *purging, const struct dbk_subject *keys, size_t count,
                     struct dbk_error *err)
{
    struct dbk_subject_event events[BATCH];
    struct dbk_append_result result;
    struct dbk_arena arena;
    struct dbk_buf text;
    int rc = DBK_OK;
    dbk_arena_init(&arena, DATA_SIZE_MAX * BATCH);
    dbk_buf_init(&text, DATA_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        dbk_buf_reset(&text);
        encode(&text, purging, &keys[i].key);
        events[i] = (struct dbk_subject_event){"SubjectPurged", &keys[i].key,
                                               dbk_arena_copy(&arena, dbk_buf_slice(&text))};
        if (text.rc < 0 || events[i].data.data == NULL)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory telling of subjects");
    }
    if (rc == DBK_OK)
        rc = dbk_subject_append(purging->forget, events, count, &result, err);
    dbk_arena_release(&arena);
    dbk_buf_release(&text);
    return rc;
}

static int say(struct purging *purging, struct dbk_error *err)
{
    const struct dbk_traces *traces = &purging->traces;
    int rc = DBK_OK;
    for (size_t at = 0; rc == DBK_OK && at < traces->count; at += BATCH)
        rc = say_batch(purging, traces->keys + at,
                       traces->count - at < BATCH ? traces->count - at : BATCH, err);
    return rc;
}

static int run_steps(struct purging *purging, struct dbk_error *err)
{
    static const struct {
        const char *name;
        int (*run)(struct purging *purging, struct dbk_error *err);
    } steps[] = {
        {"snapshots", drop_snapshots},   {"read models", purge_models},
        {"views", refresh_views},        {"models as of a time", remove_as_of},
        {"parked events", purge_groups}, {"saying so", say},
    };
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(steps) / sizeof(steps[0]); i++) {
        rc = dbk_forget_tell(purging->forget, purging->run, purging->traces.count, err, "%s",
                             steps[i].name);
        if (rc == DBK_OK)
            rc = steps[i].run(purging, err);
    }
    return rc;
}

int dbk_forget_purge(struct dbk_forget *forget, const struct dbk_subject *keys, size_t count,
                     const struct dbk_forget_run *run, struct dbk_error *err)
{
    struct purging purging = {.forget = forget, .run = run};
    int rc = dbk_forget_tell(forget, run, count, err, "events");
    if (rc < 0)
        return rc;
    rc = dbk_traces_find(forget, keys, count, &purging.traces, err);
    if (rc == DBK_OK)
        rc = run_steps(&purging, err);
    dbk_traces_release(&purging.traces);
    return rc;
}
