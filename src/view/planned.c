/* SPDX-License-Identifier: Apache-2.0 */
/* What the views' files ask for that is not stored yet, and what it is guessed to take. */
#include <stdio.h>

#include "base/assert.h"
#include "view/state.h"

#define TEXT_SIZE_MAX ((size_t)16 << 20)
/* What a row that is read takes in a full refresh, where none was measured: docs/views.md. */
#define ROW_READ_US 10

const char *dbk_view_action_text(enum dbk_view_action action)
{
    static const char *const texts[] = {"none", "build", "rebuild", "refresh"};
    return texts[action];
}

/* What of the file is another than that of what serves. */
static int find_change(const struct dbk_view *view, struct dbk_view_planned *planned,
                       struct dbk_error *err)
{
    struct dbk_arena arena;
    struct dbk_slice text = dbk_slice(NULL, 0);
    const char *what = "file";
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    int rc = view->home->file(&view->definition, false, &arena, &text, err);
    const struct dbk_view_definition old = {.sql = text};
    if (rc == DBK_OK && text.size > 0)
        what = dbk_slice_equal(dbk_view_select(&old), dbk_view_select(&view->definition))
                   ? "head"
                   : "SELECT";
    (void)snprintf(planned->because, sizeof(planned->because), "its %s has changed", what);
    if (strcmp(what, "SELECT") == 0)
        planned->keep_us = view->definition.keep_us;
    dbk_arena_release(&arena);
    return rc;
}

static int find_action(struct dbk_views *views, struct dbk_view *view,
                       struct dbk_view_planned *planned, struct dbk_view_row *row, size_t depth,
                       struct dbk_error *err);

/* A view that it reads and that is built anew: its rows are then in another table. */
static int find_rebuilt_source(struct dbk_views *views, const struct dbk_view *view,
                               struct dbk_view_planned *planned, size_t depth,
                               struct dbk_error *err)
{
    const struct dbk_view_source *source = &dbk_view_form(view)->source;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && depth < views->count && i < source->view_count; i++) {
        struct dbk_view_planned other = {0};
        struct dbk_view_row row;
        size_t index = 0;
        if (dbk_views_find(views, source->views[i], &index, NULL) < 0)
            continue;
        rc = find_action(views, &views->views[index], &other, &row, depth + 1, err);
        if (rc < 0 || (other.action != DBK_VIEW_REBUILD && other.action != DBK_VIEW_REFRESH))
            continue;
        planned->action = DBK_VIEW_REFRESH;
        (void)snprintf(planned->because, sizeof(planned->because),
                       "it reads %s, which is built anew", source->views[i]);
    }
    return rc;
}

static int find_action(struct dbk_views *views, struct dbk_view *view,
                       struct dbk_view_planned *planned, struct dbk_view_row *row, size_t depth,
                       struct dbk_error *err)
{
    struct dbk_kept kept;
    int rc = dbk_views_kept(views, view, row, &kept, err);
    if (rc < 0)
        return rc;
    if (row->generation == 0) {
        planned->action = DBK_VIEW_BUILD;
        (void)snprintf(planned->because, sizeof(planned->because), "it was never refreshed");
        return DBK_OK;
    }
    if (kept.undone && strcmp(kept.fingerprint, view->file->fingerprint) == 0)
        (void)snprintf(planned->because, sizeof(planned->because),
                       "it was rolled back: the file before says what it shows, until this one is "
                       "changed");
    else if (strcmp(row->fingerprint, view->file->fingerprint) != 0) {
        planned->action = DBK_VIEW_REBUILD;
        return find_change(view, planned, err);
    }
    return find_rebuilt_source(views, view, planned, depth, err);
}

/* The rows that a view reads which was never built: of models, of other views, and of the log. */
static int count_sources(struct dbk_views *views, const struct dbk_view *view, uint64_t *rows_out,
                         struct dbk_error *err)
{
    const struct dbk_view_source *source = &view->file->source;
    struct dbk_slice select = dbk_view_select(&view->definition);
    struct dbk_arena arena;
    uint64_t rows = source->log ? dbk_store_last_position(views->store) : 0;
    int rc = DBK_OK;
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    for (size_t i = 0; rc == DBK_OK && i < views->definition_count; i++) {
        const struct dbk_model_definition *model = &views->definitions[i];
        const char **tables = NULL;
        size_t table_count = 0;
        if (strcmp(model->database_path, view->definition.database_path) != 0)
            continue;
        rc = dbk_model_tables(model, &arena, &tables, &table_count, err);
        for (size_t j = 0; rc == DBK_OK && j < table_count; j++) {
            uint64_t count = 0;
            if (dbk_sql_names(select, tables[j]))
                rc = view->home->count(&view->definition, tables[j], &count, err);
            rows += count;
        }
    }
    dbk_arena_release(&arena);
    for (size_t i = 0; rc == DBK_OK && i < source->view_count; i++) {
        struct dbk_view_row row;
        size_t index = 0;
        rc = dbk_views_find(views, source->views[i], &index, err);
        if (rc == DBK_OK)
            rc = dbk_views_row(views, &views->views[index], &row, err);
        rows += rc == DBK_OK ? row.rows : 0;
    }
    *rows_out = rows;
    return rc;
}

static int estimate(struct dbk_views *views, const struct dbk_view *view,
                    const struct dbk_view_row *row, struct dbk_view_planned *planned,
                    struct dbk_error *err)
{
    uint64_t rows = row->rows;
    int rc = DBK_OK;
    if (row->generation == 0) {
        rc = count_sources(views, view, &rows, err);
        planned->duration_us = (int64_t)rows * ROW_READ_US;
        (void)snprintf(planned->basis, sizeof(planned->basis),
                       "%ju rows that it reads, %d us each; its size is not known", (uintmax_t)rows,
                       ROW_READ_US);
        return rc;
    }
    planned->duration_us = row->full_us;
    rc = view->home->size(&view->definition, row->generation, &planned->size, err);
    (void)snprintf(planned->basis, sizeof(planned->basis),
                   "its last full refresh and the %ju rows it has%s", (uintmax_t)rows,
                   planned->keep_us != 0 ? ", by the SELECT before" : "");
    return rc;
}

int dbk_views_planned(struct dbk_views *views, size_t index, struct dbk_view_planned *planned_out,
                      struct dbk_error *err)
{
    dbk_assert(index < views->count);
    struct dbk_view *view = &views->views[index];
    struct dbk_view_planned planned = {.name = view->definition.name};
    struct dbk_view_row row;
    struct dbk_error failure = {0};
    int rc = dbk_view_settle_form(views, view, &failure);
    if (rc == DBK_OK)
        rc = find_action(views, view, &planned, &row, 0, &failure);
    if (rc == DBK_OK && planned.action != DBK_VIEW_NOTHING)
        rc = estimate(views, view, &row, &planned, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "view %s: %s", view->definition.name, failure.message);
    *planned_out = planned;
    return DBK_OK;
}
