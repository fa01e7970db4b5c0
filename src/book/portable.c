/* SPDX-License-Identifier: Apache-2.0 */
#include "book/portable.h"

#include <stdio.h>
#include <string.h>

#include "base/fault.h"
#include "json/json.h"
#include "os/os.h"

#define TEXT_SIZE_MAX ((size_t)64 << 20)
/* An address of each: nothing is opened by it. */
#define AT_POSTGRES "postgres:env:PORTABLE"
#define AT_SQLITE "portable.db"

struct portable {
    const struct dbk_book *book;
    struct dbk_os *os;
    struct dbk_diagnostics *faults;
    struct dbk_diagnostics tried; /* what the other target says of one definition */
    struct dbk_arena arena;
};

static enum dbk_dialect other(enum dbk_dialect dialect)
{
    return dialect == DBK_DIALECT_SQLITE ? DBK_DIALECT_POSTGRES : DBK_DIALECT_SQLITE;
}

static const char *address_of(enum dbk_dialect dialect)
{
    return dialect == DBK_DIALECT_SQLITE ? AT_SQLITE : AT_POSTGRES;
}

static int words(struct portable *portable, const char *file, struct dbk_slice text, unsigned line,
                 enum dbk_dialect dialect, bool schema, bool query, struct dbk_error *err)
{
    return dbk_portable_words(&(struct dbk_portable_text){.file = file,
                                                          .text = text,
                                                          .line = line,
                                                          .dialect = dialect,
                                                          .schema = schema,
                                                          .query = query},
                              portable->faults, err);
}

/* True where the scan has found the line's fault already, and says better what to do. */
static bool is_known(const struct dbk_diagnostics *faults, const struct dbk_diagnostic *item)
{
    for (size_t i = 0; i < faults->count; i++) {
        const struct dbk_diagnostic *known = &faults->items[i];
        if (!known->warning && known->line == item->line && strcmp(known->file, item->file) == 0)
            return true;
    }
    return false;
}

/* What the other target said of what was tried. */
static int take_tried(struct portable *portable, enum dbk_dialect to, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < portable->tried.count; i++) {
        const struct dbk_diagnostic *item = &portable->tried.items[i];
        struct dbk_fault fault = {.file = item->file,
                                  .line = item->line,
                                  .column = item->column,
                                  .fix = item->fix[0] != '\0'
                                             ? item->fix
                                             : "write what both know, or keep a file for each"};
        if (!item->warning && !is_known(portable->faults, item))
            rc = dbk_fault_add(portable->faults, &fault, "%s would refuse this: %s",
                               to == DBK_DIALECT_SQLITE ? "SQLite" : "PostgreSQL", item->what);
    }
    dbk_diagnostics_release(&portable->tried);
    dbk_diagnostics_init(&portable->tried);
    return rc < 0 ? dbk_error_set(err, DBK_ENOMEM, "out of memory checking a book") : DBK_OK;
}

/* ---- Models ---- */

/* A setting's line in model.yaml. */
static int setting_fault(struct portable *portable, const char *model, const char *key,
                         const char *value, const char *fix, struct dbk_error *err)
{
    struct dbk_buf text;
    struct dbk_fault fault = {.line = 1, .column = 1, .fix = fix};
    char path[4096];
    char line[64];
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    fault.file = dbk_arena_format(&portable->arena, "models/%s/model.yaml", model);
    (void)snprintf(path, sizeof(path), "%s/models/%s/model.yaml", portable->book->folder, model);
    (void)snprintf(line, sizeof(line), "\n%s:", key);
    dbk_buf_append_char(&text, '\n');
    int rc = fault.file == NULL ? dbk_error_set(err, DBK_ENOMEM, "out of memory checking a book")
                                : dbk_os_read_file(portable->os, path, TEXT_SIZE_MAX, &text, err);
    const char *at = rc < 0 ? NULL : memmem(text.data, text.size, line, strlen(line));
    if (at != NULL)
        dbk_fault_place(&fault, dbk_slice(text.data + 1, text.size - 1), (size_t)(at - text.data));
    if (rc == DBK_OK &&
        dbk_fault_add(portable->faults, &fault, "`%s: %s` is not in PostgreSQL", key, value) < 0)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory checking a book");
    dbk_buf_release(&text);
    return rc;
}

static int check_settings(struct portable *portable, const struct dbk_model_definition *model,
                          struct dbk_error *err)
{
    int rc = DBK_OK;
    if (model->sync == DBK_SYNC_TRANSACTION)
        rc = setting_fault(portable, model->name, "sync", "transaction",
                           "write `sync: events`, and ask with `after=` where a read must not be "
                           "behind",
                           err);
    if (rc == DBK_OK && model->personal == DBK_PERSONAL_SEALED)
        rc = setting_fault(portable, model->name, "personal", "sealed",
                           "write `personal: rebuild`, or a file with statements", err);
    return rc;
}

/* A section of several types is several handlers. */
static bool is_repeated(const struct dbk_model_definition *model, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (model->handlers[i].sql.data == model->handlers[index].sql.data)
            return true;
    }
    return false;
}

static int check_model(struct portable *portable, const struct dbk_model_definition *model,
                       struct dbk_error *err)
{
    enum dbk_dialect dialect = dbk_target_dialect(model->database_path);
    struct dbk_model_definition moved = *model;
    if (!dbk_dialect_is_sql(dialect))
        return DBK_OK;
    moved.database_path = address_of(other(dialect));
    int rc = dialect == DBK_DIALECT_SQLITE ? check_settings(portable, model, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = words(portable, model->schema_file, model->schema, 1, dialect, true, false, err);
    for (size_t i = 0; rc == DBK_OK && i < model->handler_count; i++) {
        const struct dbk_handler *handler = &model->handlers[i];
        if (!is_repeated(model, i))
            rc = words(portable, handler->file, handler->sql, handler->line, dialect, false, false,
                       err);
    }
    if (rc == DBK_OK && model->personal == DBK_PERSONAL_PURGE)
        rc = words(portable, model->purge_file, model->purge, 1, dialect, false, false, err);
    if (rc == DBK_OK)
        rc = dbk_model_check(&moved, &portable->tried, err);
    return rc == DBK_OK ? take_tried(portable, other(dialect), err) : rc;
}

/* ---- Queries and views ---- */

/* As PostgreSQL's parser takes a SELECT; the tables only a server knows. */
static int parse_select(struct portable *portable, const char *file, struct dbk_slice text,
                        struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_slice *names = NULL;
    struct dbk_buf sql;
    size_t count = 0;
    size_t behind = 0;
    int at = -1;
    struct dbk_slice select = dbk_sql_statement(text, 0, &behind);
    dbk_buf_init(&sql, TEXT_SIZE_MAX);
    int rc = dbk_sql_rewrite(select, NULL, 0, &sql, &portable->arena, &names, &count, &failure);
    if (rc == DBK_OK)
        rc = dbk_target_check(AT_POSTGRES, dbk_buf_slice(&sql), DBK_GUARD_QUERY, &at, &failure);
    if (rc < 0 && rc != DBK_ENOMEM) {
        struct dbk_fault fault = {.file = file};
        dbk_fault_place(&fault, text,
                        (size_t)(select.data - text.data) + (size_t)(at < 0 ? 0 : at));
        rc = dbk_fault_add(&portable->tried, &fault, "%s", failure.message);
    }
    dbk_buf_release(&sql);
    if (rc < 0)
        return dbk_error_set(err, rc, "%s", dbk_code_text(rc));
    return take_tried(portable, DBK_DIALECT_POSTGRES, err);
}

static int check_selects(struct portable *portable, struct dbk_error *err)
{
    const struct dbk_book *book = portable->book;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < book->query_count; i++) {
        const struct dbk_book_query *query = &book->queries[i];
        enum dbk_dialect dialect = query->database == NULL
                                       ? DBK_DIALECT_SQLITE
                                       : dbk_target_dialect(query->database->path);
        if (!dbk_dialect_is_sql(dialect))
            continue;
        rc = words(portable, query->file, query->whole, 1, dialect, false, true, err);
        if (rc == DBK_OK && dialect == DBK_DIALECT_SQLITE)
            rc = parse_select(portable, query->file, query->whole, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < book->view_count; i++) {
        const struct dbk_view_definition *view = &book->views[i];
        enum dbk_dialect dialect = dbk_target_dialect(view->database_path);
        rc = words(portable, view->file, view->sql, 1, dialect, false, true, err);
        if (rc == DBK_OK && dialect == DBK_DIALECT_SQLITE)
            rc = parse_select(portable, view->file, view->sql, err);
    }
    return rc;
}

/* Those of PostgreSQL are prepared in SQLite, with its models' tables there. */
struct moved {
    struct dbk_model_definition *models;
    struct dbk_view_definition *views;
    struct dbk_view_definition *queries;
    size_t model_count;
    size_t view_count;
    size_t query_count;
};

static void move_all(const struct dbk_book *book, struct moved *moved)
{
    for (size_t i = 0; i < book->model_count; i++) {
        if (dbk_target_dialect(book->models[i].database_path) != DBK_DIALECT_POSTGRES)
            continue;
        moved->models[moved->model_count] = book->models[i];
        moved->models[moved->model_count++].database_path = book->models[i].database;
    }
    for (size_t i = 0; i < book->view_count; i++) {
        if (dbk_target_dialect(book->views[i].database_path) != DBK_DIALECT_POSTGRES)
            continue;
        moved->views[moved->view_count] = book->views[i];
        moved->views[moved->view_count++].database_path = book->views[i].database;
    }
    for (size_t i = 0; i < book->query_count; i++) {
        const struct dbk_book_query *query = &book->queries[i];
        if (query->database != NULL &&
            dbk_target_dialect(query->database->path) == DBK_DIALECT_POSTGRES)
            moved->queries[moved->query_count++] =
                (struct dbk_view_definition){.file = query->file,
                                             .sql = query->whole,
                                             .database = query->database->name,
                                             .database_path = query->database->name};
    }
}

static int check_moved(struct portable *portable, struct dbk_error *err)
{
    const struct dbk_book *book = portable->book;
    struct dbk_arena *arena = &portable->arena;
    struct moved moved = {
        .models = dbk_arena_alloc_zero(arena, book->model_count + 1, sizeof(*moved.models)),
        .views = dbk_arena_alloc_zero(arena, book->view_count + 1, sizeof(*moved.views)),
        .queries = dbk_arena_alloc_zero(arena, book->query_count + 1, sizeof(*moved.queries))};
    if (moved.models == NULL || moved.views == NULL || moved.queries == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory checking a book");
    move_all(book, &moved);
    const struct dbk_view_scope scope = {moved.views, moved.view_count, moved.models,
                                         moved.model_count};
    int rc = dbk_views_check(moved.views, moved.view_count, moved.models, moved.model_count,
                             &portable->tried, err);
    if (rc == DBK_OK)
        rc = dbk_views_check_queries(moved.queries, moved.query_count, &scope, &portable->tried,
                                     err);
    return rc == DBK_OK ? take_tried(portable, DBK_DIALECT_SQLITE, err) : rc;
}

int dbk_book_check_portable(const struct dbk_book *book, struct dbk_os *os,
                            struct dbk_diagnostics *faults, struct dbk_error *err)
{
    struct portable portable = {.book = book, .os = os, .faults = faults};
    const void *symbol = NULL;
    dbk_diagnostics_init(&portable.tried);
    dbk_arena_init(&portable.arena, TEXT_SIZE_MAX);
    int rc = dbk_target_symbol(AT_POSTGRES, "dbk_driver", &symbol, err);
    for (size_t i = 0; rc == DBK_OK && i < book->model_count; i++)
        rc = check_model(&portable, &book->models[i], err);
    if (rc == DBK_OK)
        rc = check_selects(&portable, err);
    if (rc == DBK_OK)
        rc = check_moved(&portable, err);
    if (rc == DBK_OK)
        dbk_diagnostics_sort(faults);
    dbk_arena_release(&portable.arena);
    dbk_diagnostics_release(&portable.tried);
    return rc;
}
