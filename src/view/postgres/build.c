/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view's next generation in PostgreSQL, made onto a model's generation that does not serve yet,
 * and swapped with it: views in temp, with the names of the plain ones, show that generation, so
 * that the SELECT's text is run as it stands.
 *
 *     its number                                        by a transaction of its own
 *     follow, BEGIN, its rows, COMMIT                   its cursors are those of "<view>__g<n>"
 *     catch up: BEGIN, the difference, COMMIT           again and again
 *     swap: the plain view, the row, the cursors        in the model's transaction
 */
#include <stdio.h>

#include "view/kept.h"
#include "view/postgres/state.h"
#include "view/shown.h"

/* How often a number is asked for, when another refresh takes the same at once. */
#define NUMBER_TRIES 3

struct dbk_view_build {
    struct dbk_view_refresh refresh;
    struct dbk_view_plan plan;
    struct dbk_pgview_fill work;
    struct dbk_buf marks;
    struct dbk_buf shown; /* the SELECT of its plain view */
};

static const char *name_of(const struct dbk_view_build *build)
{
    return build->refresh.definition->name;
}

static int stand_for_all(struct dbk_view_build *build, struct dbk_error *err)
{
    const struct dbk_view_onto *onto = build->refresh.source->onto;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < onto->name_count; i++)
        rc = dbk_pgview_stand_for(build->work.connection, onto->names[i].name, onto->names[i].shown,
                                  err);
    return rc;
}

/* A name behind a schema means the generation that serves, which this is not built on. */
static int look_for_schemas(const struct dbk_view_build *build, struct dbk_error *err)
{
    const struct dbk_view_onto *onto = build->refresh.source->onto;
    struct dbk_slice select = dbk_view_select(build->refresh.definition);
    bool point = false;
    for (size_t at = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(select, at);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return DBK_OK;
        at += token.text.size;
        if (token.kind == DBK_SQL_SPACE)
            continue;
        for (size_t i = 0; point && token.kind == DBK_SQL_NAME && i < onto->name_count; i++) {
            if (dbk_sql_name_is(token.text, dbk_slice_of(onto->names[i].name)))
                return dbk_error_set(err, DBK_EREFUSED,
                                     "it names a schema before %s: leave the schema out",
                                     onto->names[i].name);
        }
        point = dbk_slice_equal_text(token.text, ".");
    }
}

static int give_number(struct dbk_view_build *build, struct dbk_error *err)
{
    struct dbk_pgview_fill *work = &build->work;
    struct dbk_error failure = {0};
    int rc = DBK_EBUSY;
    for (int i = 0; rc < 0 && rc != DBK_ECONNECT && i < NUMBER_TRIES; i++)
        rc = dbk_kept_begin(work->connection, build->refresh.definition, build->refresh.fingerprint,
                            &work->row.generation, &failure);
    (void)snprintf(work->owner, sizeof(work->owner), "%s__g%llu", name_of(build),
                   (unsigned long long)work->row.generation);
    return rc < 0 ? dbk_error_set(err, rc, "%s", failure.message) : rc;
}

static int fill(struct dbk_view_build *build, struct dbk_error *err)
{
    struct dbk_pgview_fill *work = &build->work;
    int rc = build->plan.incremental ? dbk_pgview_fill_follow(work, err) : DBK_OK;
    work->row.as_of_us = build->refresh.os->now_us(build->refresh.os);
    if (rc == DBK_OK)
        rc = dbk_pgview_begin(work->connection, err);
    if (rc < 0)
        return rc;
    /* So that nearly all that it does not see began before it (notes.c). */
    rc = dbk_connection_run(work->connection, "SELECT txid_current()", err);
    if (rc == DBK_OK)
        rc = dbk_pgview_fill_rows(work, err);
    return dbk_view_end_transaction(work->connection, rc, err);
}

static int open_build(struct dbk_view_build *build, struct dbk_error *err)
{
    struct dbk_pgview_fill *work = &build->work;
    const struct dbk_view_definition *definition = build->refresh.definition;
    int rc = dbk_pgview_open_over(definition, &work->connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(work->connection, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_catalog(work->connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_read(work->connection, definition->name, &work->old, err);
    if (rc == DBK_OK && work->old.generation == 0)
        return dbk_error_set(err, DBK_ENOTFOUND, "it was never refreshed");
    if (rc == DBK_OK)
        rc = look_for_schemas(build, err);
    if (rc == DBK_OK)
        rc = stand_for_all(build, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_plan(&build->plan, work->connection, definition, err);
    if (rc == DBK_OK && build->plan.incremental)
        (void)snprintf(work->row.reason, sizeof(work->row.reason), "%s was rebuilt",
                       build->refresh.source->onto->model);
    else if (rc == DBK_OK)
        dbk_view_plan_obstacle(&build->plan, definition, work->row.reason,
                               sizeof(work->row.reason));
    if (rc == DBK_OK)
        rc = give_number(build, err);
    if (rc == DBK_OK)
        rc = fill(build, err);
    if (rc < 0)
        return rc;
    dbk_shown_select(&build->shown, &build->plan, definition->name, work->row.generation);
    dbk_buf_append_char(&build->shown, '\0');
    return build->shown.rc < 0
               ? dbk_error_set(err, build->shown.rc, "%s", dbk_code_text(build->shown.rc))
               : rc;
}

static int fail(struct dbk_view_build *build, int rc, const struct dbk_error *failure,
                struct dbk_error *err)
{
    struct dbk_error why = {0};
    (void)dbk_error_set(&why, rc, "it was not swapped with %s: %.180s",
                        build->refresh.source->onto->model, failure->message);
    build->work.row.tried_us = build->refresh.os->now_us(build->refresh.os);
    if (rc != DBK_ENOTFOUND && rc != DBK_ESTOPPED && build->work.connection != NULL)
        dbk_pgview_note_failure(&build->work, &why);
    return dbk_error_set(err, rc, "%s", why.message);
}

int dbk_pgview_build_open(const struct dbk_view_refresh *refresh, struct dbk_view_build **build_out,
                          struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_view_build *build = dbk_alloc_zero(1, sizeof(*build));
    if (build == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    build->refresh = *refresh;
    build->refresh.session = NULL;
    build->work.refresh = &build->refresh;
    build->work.plan = &build->plan;
    build->work.row.tried_us = refresh->os->now_us(refresh->os);
    dbk_view_plan_init(&build->plan);
    dbk_buf_init(&build->work.sql, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_init(&build->marks, DBK_PGVIEW_SQL_SIZE_MAX);
    dbk_buf_init(&build->shown, DBK_PGVIEW_SQL_SIZE_MAX);
    int rc = open_build(build, &failure);
    if (rc == DBK_OK) {
        *build_out = build;
        return rc;
    }
    rc = fail(build, rc, &failure, err);
    dbk_pgview_build_free(build, false);
    return rc;
}

int dbk_pgview_build_catch_up(struct dbk_view_build *build, struct dbk_error *err)
{
    struct dbk_pgview_fill *work = &build->work;
    struct dbk_view_attempt attempt = {.schema = -1};
    struct dbk_view_row row = work->row;
    struct dbk_view_refresh refresh = build->refresh;
    struct dbk_error failure = {0};
    if (!build->plan.incremental)
        return DBK_OK;
    refresh.owner = work->owner;
    int rc = dbk_pgview_apply(&refresh, &build->plan, work->connection, &build->marks, &row,
                              &attempt, &failure);
    if (rc == DBK_OK && attempt.stale)
        rc = dbk_error_set(&failure, DBK_EBUSY, "its tables were built anew meanwhile");
    if (rc < 0)
        return fail(build, rc, &failure, err);
    if (!attempt.done)
        return rc;
    work->row.position = row.position;
    work->row.as_of_us = row.as_of_us;
    work->row.rows = row.rows;
    return DBK_OK;
}

int dbk_pgview_build_swap(struct dbk_view_build *build, struct dbk_connection *connection,
                          struct dbk_error *err)
{
    struct dbk_pgview_fill *work = &build->work;
    const struct dbk_view_refresh *refresh = &build->refresh;
    const struct dbk_pgview_shown plain = {.name = name_of(build),
                                           .select = dbk_slice_of(build->shown.data)};
    struct dbk_view_row now;
    int rc = dbk_view_catalog_read(connection, name_of(build), &now, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_show_now(connection, &plain, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_take_over(connection, work->owner, name_of(build), err);
    return rc < 0 ? rc
                  : dbk_kept_serve(connection, refresh->definition, &now, &work->row,
                                   refresh->os->now_us(refresh->os), plain.select, err);
}

struct dbk_view_behind dbk_pgview_build_behind(struct dbk_view_build *build)
{
    return (struct dbk_view_behind){
        .name = name_of(build), .shown = build->shown.data, .row = &build->work.row};
}

/* What cannot be removed now is removed by the next refresh, or when the book is opened. */
static void undo(struct dbk_view_build *build)
{
    struct dbk_pgview_fill *work = &build->work;
    if (work->row.generation == 0)
        return;
    dbk_ignore(dbk_pgview_forget(work->connection, work->owner, DBK_PGVIEW_ALL, NULL));
    dbk_ignore(dbk_kept_give_up(work->connection, name_of(build), work->row.generation, NULL));
}

void dbk_pgview_build_free(struct dbk_view_build *build, bool swapped)
{
    if (build == NULL)
        return;
    struct dbk_connection *connection = build->work.connection;
    struct dbk_view_row row;
    if (connection != NULL && !swapped)
        undo(build);
    if (connection != NULL &&
        dbk_view_catalog_read(connection, name_of(build), &row, NULL) == DBK_OK) {
        dbk_ignore(dbk_pgview_clean(connection, name_of(build), row.generation, NULL));
        dbk_ignore(dbk_pgview_end_logs(connection, NULL));
    }
    dbk_connection_free(connection);
    dbk_view_plan_release(&build->plan);
    dbk_buf_release(&build->work.sql);
    dbk_buf_release(&build->marks);
    dbk_buf_release(&build->shown);
    dbk_free(build);
}
