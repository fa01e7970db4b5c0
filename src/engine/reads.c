/* SPDX-License-Identifier: Apache-2.0 */
/* What queries and views read, by the names that stand in them. */
#include "engine/state.h"

struct walk {
    const struct dbk_engine *engine;
    const char *const *models; /* that may be read */
    size_t count;
    size_t found; /* tables of those, and views */
};

static bool is_listed(const struct walk *walk, const char *model)
{
    for (size_t i = 0; i < walk->count; i++)
        if (strcmp(walk->models[i], model) == 0)
            return true;
    return false;
}

/* What stands in one SELECT, and below the views in it. */
static bool stays(struct walk *walk, struct dbk_slice sql, const struct dbk_view_definition *self,
                  size_t depth)
{
    const struct dbk_book *book = walk->engine->book;
    if (depth > book->view_count || dbk_sql_names(sql, "events"))
        return false;
    for (size_t i = 0; i < book->model_count; i++) {
        if (!dbk_rows_names_model(walk->engine, sql, i))
            continue;
        if (!is_listed(walk, book->models[i].name))
            return false;
        walk->found++;
    }
    for (size_t i = 0; i < book->view_count; i++) {
        const struct dbk_view_definition *view = &book->views[i];
        if (view == self || !dbk_sql_names(sql, view->name))
            continue;
        if (!stays(walk, view->sql, view, depth + 1))
            return false;
        walk->found++;
    }
    return true;
}

bool dbk_engine_query_reads_only(const struct dbk_engine *engine, struct dbk_slice name,
                                 const char *const *models, size_t count)
{
    struct walk walk = {engine, models, count, 0};
    for (size_t i = 0; i < engine->book->query_count; i++) {
        const struct dbk_book_query *query = &engine->book->queries[i];
        if (dbk_slice_equal_text(name, query->name))
            return query->database != NULL &&
                   dbk_target_dialect(query->database->path) == DBK_DIALECT_SQLITE &&
                   stays(&walk, query->sql, NULL, 0) && walk.found > 0;
    }
    return false;
}

bool dbk_engine_view_reads_only(const struct dbk_engine *engine, struct dbk_slice name,
                                const char *const *models, size_t count)
{
    struct walk walk = {engine, models, count, 0};
    for (size_t i = 0; i < engine->book->view_count; i++) {
        const struct dbk_view_definition *view = &engine->book->views[i];
        if (dbk_slice_equal_text(name, view->name))
            return stays(&walk, view->sql, view, 0) && walk.found > 0;
    }
    return false;
}
