/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules that cannot be kept because of those of other views: they are refused with the book. */
#include <stdio.h>

#include "view/check.h"

static bool reads(const struct dbk_view_definition *view, const struct dbk_view_definition *other)
{
    return view != other && strcmp(view->database, other->database) == 0 &&
           dbk_sql_names(dbk_view_select(view), other->name);
}

struct timing {
    const struct dbk_view_definition *views;
    size_t count;
    struct dbk_arena *arena;
    struct dbk_diagnostics *diagnostics;
};

static int fault(const struct timing *timing, const struct dbk_view_definition *view,
                 const struct dbk_diagnostic *texts)
{
    struct dbk_diagnostic item = *texts;
    item.file = view->file;
    dbk_text_place(view->sql, view->refresh_place, &item.line, &item.column);
    return dbk_diagnostics_add(timing->diagnostics, &item);
}

/* What nothing stands on is never refreshed with anything. */
static int check_downstream(const struct timing *timing, const struct dbk_view_definition *view)
{
    static const struct dbk_diagnostic texts = {
        .what = "no view reads this one",
        .why = "with `downstream` it is refreshed with the views that read it, so it would stay "
               "empty",
        .fix = "give it a schedule of its own, or let a view of its database read it"};
    for (size_t i = 0; i < timing->count; i++) {
        if (reads(&timing->views[i], view))
            return DBK_OK;
    }
    return fault(timing, view, &texts);
}

/* Whether a view is kept at least as fresh as a lag of what reads it asks for. */
static bool keeps(const struct dbk_schedule *schedule, int64_t lag_us)
{
    switch (schedule->kind) {
    case DBK_SCHEDULE_CONTINUOUS:
    case DBK_SCHEDULE_DOWNSTREAM:
        return true;
    case DBK_SCHEDULE_EVERY:
    case DBK_SCHEDULE_LAG:
        return schedule->period_us <= lag_us;
    case DBK_SCHEDULE_DAILY:
    case DBK_SCHEDULE_ON_DEMAND:
        break;
    }
    return false;
}

static int report_slow(const struct timing *timing, const struct dbk_view_definition *view,
                       const struct dbk_view_definition *source)
{
    char schedule[DBK_SCHEDULE_TEXT_SIZE];
    (void)dbk_schedule_format(&source->schedule, schedule, sizeof(schedule));
    const struct dbk_diagnostic texts = {
        .what = dbk_arena_format(timing->arena,
                                 "this lag cannot be kept: the view stands on `%s`, whose refresh "
                                 "is `%s`",
                                 source->name, schedule),
        .why = "it is no fresher than what it reads",
        .fix = dbk_arena_format(timing->arena,
                                "write `-- refresh: downstream` in %s, or a lag that "
                                "is no longer than this one",
                                source->file)};
    return texts.what == NULL || texts.fix == NULL ? DBK_ENOMEM : fault(timing, view, &texts);
}

/* from: the view, or what it stands on by way of `downstream`; depth bounds circles, which are
   reported elsewhere. 1: a fault was reported. */
static int check_lag(const struct timing *timing, const struct dbk_view_definition *view,
                     const struct dbk_view_definition *from, size_t depth)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < timing->count && depth < timing->count; i++) {
        const struct dbk_view_definition *source = &timing->views[i];
        if (!reads(from, source))
            continue;
        if (!keeps(&source->schedule, view->schedule.period_us)) {
            rc = report_slow(timing, view, source);
            return rc < 0 ? rc : 1;
        }
        if (source->schedule.kind == DBK_SCHEDULE_DOWNSTREAM)
            rc = check_lag(timing, view, source, depth + 1);
    }
    return rc;
}

int dbk_views_check_timing(const struct dbk_view_definition *views, size_t count,
                           struct dbk_arena *arena, struct dbk_diagnostics *diagnostics)
{
    const struct timing timing = {
        .views = views, .count = count, .arena = arena, .diagnostics = diagnostics};
    int rc = DBK_OK;
    for (size_t i = 0; rc >= 0 && i < count; i++) {
        if (views[i].schedule.kind == DBK_SCHEDULE_DOWNSTREAM)
            rc = check_downstream(&timing, &views[i]);
        else if (views[i].schedule.kind == DBK_SCHEDULE_LAG)
            rc = check_lag(&timing, &views[i], &views[i], 0);
    }
    return rc < 0 ? rc : DBK_OK;
}
