/* SPDX-License-Identifier: Apache-2.0 */
/* What queries and views read, by the names that stand in them. */
#include <strings.h>

#include "engine/state.h"
#include "service/sql.h"

#define USES_SIZE_MAX ((size_t)16 << 20)

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

/* One of those models' own, or a view, which is looked into. */
static bool is_known(const struct walk *walk, const char *table)
{
    const struct dbk_book *book = walk->engine->book;
    for (size_t i = 0; i < book->view_count; i++) {
        if (strcasecmp(book->views[i].name, table) == 0)
            return true;
    }
    for (size_t i = 0; i < book->model_count; i++) {
        for (size_t j = 0; j < walk->engine->table_counts[i]; j++) {
            if (strcasecmp(walk->engine->tables[i][j], table) == 0)
                return is_listed(walk, book->models[i].name);
        }
    }
    return false;
}

/* True when every table in it is known; what cannot be read may use any. */
static bool uses_known(const struct walk *walk, struct dbk_slice sql)
{
    struct dbk_arena arena;
    dbk_arena_init(&arena, USES_SIZE_MAX);
    struct dbk_uses uses = {.arena = &arena};
    struct dbk_json *json = dbk_service_json();
    bool known = json != NULL && dbk_uses_read(&uses, json, sql, NULL) == DBK_OK && !uses.unread;
    for (size_t i = 0; known && i < uses.count; i++) {
        const struct dbk_use *use = &uses.items[i];
        bool function = strcmp(use->table, "()") == 0;
        known = function || *use->table == '\0' || is_known(walk, use->table);
    }
    dbk_json_free(json);
    dbk_arena_release(&arena);
    return known;
}

/* What stands in one SELECT, and below the views in it. */
static bool stays(struct walk *walk, struct dbk_slice sql, const struct dbk_view_definition *self,
                  size_t depth)
{
    const struct dbk_book *book = walk->engine->book;
    if (depth > book->view_count || dbk_sql_names(sql, "events") || !uses_known(walk, sql))
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

/* Whether a SELECT names a model's table or a view, or a view in it does. */
static bool names(const struct dbk_engine *engine, struct dbk_slice sql, size_t model,
                  const char *view, size_t depth)
{
    const struct dbk_book *book = engine->book;
    if (view == NULL && dbk_rows_names_model(engine, sql, model))
        return true;
    for (size_t i = 0; depth < book->view_count && i < book->view_count; i++) {
        const struct dbk_view_definition *other = &book->views[i];
        if (!dbk_sql_names(sql, other->name))
            continue;
        if (view != NULL && strcmp(other->name, view) == 0)
            return true;
        if (names(engine, other->sql, model, view, depth + 1))
            return true;
    }
    return false;
}

bool dbk_engine_query_uses_model(const struct dbk_engine *engine, size_t query, size_t model)
{
    return names(engine, engine->book->queries[query].sql, model, NULL, 0);
}

bool dbk_engine_query_uses_view(const struct dbk_engine *engine, size_t query, size_t view)
{
    return names(engine, engine->book->queries[query].sql, 0, engine->book->views[view].name, 0);
}

void dbk_engine_query_work(const struct dbk_engine *engine, size_t query,
                           struct dbk_query_work *work_out)
{
    const struct dbk_query_count *count = &engine->queries[query];
    *work_out = (struct dbk_query_work){
        .calls = count->calls, .sum_us = count->sum_us, .max_us = count->max_us};
}

uint64_t dbk_engine_opened_at(const struct dbk_engine *engine, int64_t *time_us_out)
{
    *time_us_out = engine->opened_us;
    return engine->opened_position;
}
