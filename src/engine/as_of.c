/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of SQL as of a time. Each model that is named lies in a file of its own, attached as
 * <database>__<model>; each view that is named is a temporary one, computed when it is read; and
 * `events` ends. Names that are qualified by a database are led to where their table is now.
 */
#include "engine/state.h"

/* What a statement reads, itself and through views. */
struct needs {
    bool *models;
    bool *views;
};

int dbk_engine_as_of(struct dbk_engine *engine, const struct dbk_as_of_options *options,
                     struct dbk_as_of *as_of_out, struct dbk_error *err)
{
    struct dbk_as_of_options own = *options;
    own.os = engine->os;
    own.folder = engine->as_of;
    return dbk_models_as_of(engine->models, &own, as_of_out, err);
}

struct listing {
    const struct dbk_engine *engine;
    dbk_as_of_each_fn each;
    void *context;
};

/* What views' definitions are now the models do not know. */
static int list_one(const struct dbk_as_of_file *file, void *context)
{
    const struct listing *listing = context;
    const struct dbk_book *book = listing->engine->book;
    struct dbk_as_of_file own = *file;
    for (size_t i = 0; file->view && i < book->view_count; i++) {
        char fingerprint[DBK_VIEW_FINGERPRINT_SIZE];
        if (strcmp(book->views[i].name, file->model) != 0)
            continue;
        int rc = dbk_engine_view_fingerprint(listing->engine, &book->views[i], fingerprint, NULL);
        if (rc < 0)
            return rc;
        own.current = strcmp(fingerprint, file->fingerprint) == 0;
    }
    return listing->each(&own, listing->context);
}

int dbk_engine_as_of_list(struct dbk_engine *engine, dbk_as_of_each_fn each, void *context,
                          struct dbk_error *err)
{
    struct listing listing = {engine, each, context};
    return dbk_models_as_of_list(engine->models, engine->os, engine->as_of, list_one, &listing,
                                 err);
}

int dbk_engine_as_of_remove(struct dbk_engine *engine, enum dbk_as_of_kind kind, const char *model,
                            const struct dbk_as_of_time *time, uint64_t *count_out,
                            struct dbk_error *err)
{
    return dbk_models_as_of_remove(
        engine->models,
        &(struct dbk_as_of_removal){
            .os = engine->os, .folder = engine->as_of, .kind = kind, .model = model, .time = time},
        count_out, err);
}

static void need_models(const struct dbk_engine *engine, struct dbk_slice sql, const char *database,
                        struct needs *needs)
{
    const struct dbk_book *book = engine->book;
    for (size_t i = 0; i < book->model_count; i++) {
        if ((database == NULL || strcmp(book->models[i].database, database) == 0) &&
            dbk_rows_names_model(engine, sql, i))
            needs->models[i] = true;
    }
}

/* Views stand on views of their own database: until no other is found. */
static void need_views(const struct dbk_engine *engine, struct dbk_slice sql, const char *database,
                       struct needs *needs)
{
    const struct dbk_book *book = engine->book;
    for (size_t i = 0; i < book->view_count; i++) {
        const struct dbk_view_definition *view = &book->views[i];
        if (needs->views[i] || (database != NULL && strcmp(view->database, database) != 0) ||
            !dbk_sql_names(sql, view->name))
            continue;
        needs->views[i] = true;
        need_models(engine, view->sql, view->database, needs);
        need_views(engine, view->sql, view->database, needs);
    }
}

static int find_needs(struct dbk_engine *engine, const struct dbk_rows_options *options,
                      struct dbk_rows *rows, struct needs *needs, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    needs->models = dbk_arena_alloc_zero(&rows->arena, book->model_count + 1, sizeof(bool));
    needs->views = dbk_arena_alloc_zero(&rows->arena, book->view_count + 1, sizeof(bool));
    if (needs->models == NULL || needs->views == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    need_models(engine, options->sql, NULL, needs);
    need_views(engine, options->sql, NULL, needs);
    return DBK_OK;
}

static const char *alias_of(const struct dbk_model_definition *model, struct dbk_rows *rows)
{
    return dbk_arena_format(&rows->arena, "%s__%s", model->database, model->name);
}

static int attach_model(struct dbk_engine *engine, const struct dbk_rows_options *options,
                        const struct dbk_model_definition *model, struct dbk_rows *rows,
                        struct dbk_error *err)
{
    struct dbk_as_of as_of;
    const char *alias = alias_of(model, rows);
    int rc = alias == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading")
                 : dbk_engine_as_of(engine,
                                    &(struct dbk_as_of_options){.model = model->name,
                                                                .time = *options->at,
                                                                .position_max = rows->position,
                                                                .progress = options->progress,
                                                                .context = options->context},
                                    &as_of, err);
    return rc < 0 ? rc : dbk_rows_attach(rows, alias, as_of.file, err);
}

/* In the order in which databases are attached otherwise, so that plain names mean the same. */
static int attach_models(struct dbk_engine *engine, const struct dbk_rows_options *options,
                         const struct needs *needs, struct dbk_rows *rows, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    int rc = DBK_OK;
    for (size_t i = 0; i < book->database_count; i++) {
        for (size_t j = 0; rc == DBK_OK && j < book->model_count; j++) {
            if (needs->models[j] && strcmp(book->models[j].database, book->databases[i].name) == 0)
                rc = attach_model(engine, options, &book->models[j], rows, err);
        }
    }
    return rc;
}

static int make_views(struct dbk_engine *engine, const struct needs *needs, struct dbk_rows *rows,
                      struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < book->view_count; i++) {
        size_t behind = 0;
        struct dbk_slice select = dbk_sql_statement(book->views[i].sql, 0, &behind);
        if (!needs->views[i])
            continue;
        const char *sql = dbk_arena_format(&rows->arena, "CREATE TEMP VIEW \"%s\" AS %.*s",
                                           book->views[i].name, DBK_SLICE_ARGS(select));
        rc = sql == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading")
                         : dbk_connection_run(rows->connection, sql, err);
    }
    return rc;
}

/* Where a table of a database is now; NULL: nowhere. */
static const char *place_of(const struct dbk_engine *engine, const struct needs *needs,
                            struct dbk_slice database, struct dbk_slice table,
                            struct dbk_rows *rows)
{
    const struct dbk_book *book = engine->book;
    for (size_t i = 0; i < book->view_count; i++) {
        if (needs->views[i] && dbk_sql_name_is(database, dbk_slice_of(book->views[i].database)) &&
            dbk_sql_name_is(table, dbk_slice_of(book->views[i].name)))
            return "temp";
    }
    for (size_t i = 0; i < book->model_count; i++) {
        if (!needs->models[i] || !dbk_sql_name_is(database, dbk_slice_of(book->models[i].database)))
            continue;
        for (size_t j = 0; j < engine->table_counts[i]; j++) {
            if (dbk_sql_name_is(table, dbk_slice_of(engine->tables[i][j])))
                return alias_of(&book->models[i], rows);
        }
    }
    return NULL;
}

/* The token behind one, without the space between. */
static struct dbk_sql_token next_word(struct dbk_slice sql, size_t *at)
{
    struct dbk_sql_token token = dbk_sql_next(sql, *at);
    while (token.kind == DBK_SQL_SPACE) {
        *at += token.text.size;
        token = dbk_sql_next(sql, *at);
    }
    *at += token.text.size;
    return token;
}

/* Where the name that ends at `behind` leads, when it is a database's and a table's stands behind;
   NULL: it stays as it is. */
static const char *lead(const struct dbk_engine *engine, const struct needs *needs,
                        struct dbk_rows *rows, struct dbk_sql_token token, size_t behind)
{
    if (token.kind != DBK_SQL_NAME ||
        !dbk_slice_equal_text(next_word(rows->sql, &behind).text, "."))
        return NULL;
    struct dbk_sql_token table = next_word(rows->sql, &behind);
    return table.kind == DBK_SQL_NAME ? place_of(engine, needs, token.text, table.text, rows)
                                      : NULL;
}

/* `reading.user_orders` becomes `"reading__user_orders".user_orders`. */
static int lead_names(struct dbk_engine *engine, const struct needs *needs, struct dbk_rows *rows,
                      struct dbk_error *err)
{
    struct dbk_slice sql = rows->sql;
    struct dbk_buf out;
    dbk_buf_init(&out, DBK_ENGINE_TEXT_SIZE_MAX);
    for (size_t at = 0; at < sql.size;) {
        struct dbk_sql_token token = dbk_sql_next(sql, at);
        if (token.text.size == 0)
            break;
        at += token.text.size;
        const char *place = lead(engine, needs, rows, token, at);
        if (place != NULL)
            dbk_buf_append_format(&out, "\"%s\"", place);
        else
            dbk_buf_append(&out, token.text);
    }
    if (out.rc == DBK_OK)
        rows->sql = dbk_arena_copy(&rows->arena, dbk_buf_slice(&out));
    int rc = out.rc < 0 || rows->sql.data == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading")
                 : DBK_OK;
    dbk_buf_release(&out);
    return rc;
}

int dbk_rows_open_as_of(struct dbk_engine *engine, const struct dbk_rows_options *options,
                        struct dbk_rows *rows, struct dbk_error *err)
{
    struct needs needs = {0};
    int rc = dbk_models_as_of_position(engine->store, options->at, &rows->position, err);
    if (options->position_max != 0 && options->position_max < rows->position)
        rows->position = options->position_max;
    if (rc == DBK_OK)
        rc = find_needs(engine, options, rows, &needs, err);
    if (rc == DBK_OK)
        rc = dbk_connection_open("", DBK_CONNECT_MEMORY | DBK_CONNECT_READ, &rows->connection, err);
    if (rc == DBK_OK)
        rc = attach_models(engine, options, &needs, rows, err);
    if (rc == DBK_OK)
        rc = make_views(engine, &needs, rows, err);
    if (rc == DBK_OK)
        rc = lead_names(engine, &needs, rows, err);
    if (rc == DBK_OK)
        rc = dbk_target_attach_events(rows->connection, engine->store, err);
    if (rc == DBK_OK && options->position_max != 0) /* A view reads the log as the book is. */
        dbk_target_whole_events(rows->connection);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(rows->connection, DBK_BEGIN_READ, err);
    if (rc == DBK_OK)
        dbk_target_end_events(rows->connection, rows->position,
                              options->at->occurred ? &options->at->time_us : NULL);
    return rc;
}
