/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of SQL. One read transaction of a connection of its own: what the rows say is of one
 * moment, and their position is the least of all models and views that the SQL names.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "engine/state.h"
#include "json/json.h"

#define CATCH_UP_US 5000000

/* Cypher and MongoDB's commands name a model as {model}Name. */
static bool names_braced(struct dbk_slice text, const char *model)
{
    size_t size = strlen(model);
    for (size_t at = 0; at + size + 2 <= text.size; at++) {
        if (text.data[at] == '{' && text.data[at + size + 1] == '}' &&
            memcmp(text.data + at + 1, model, size) == 0)
            return true;
    }
    return false;
}

bool dbk_rows_names_model(const struct dbk_engine *engine, struct dbk_slice sql, size_t model)
{
    const struct dbk_model_definition *definition = &engine->book->models[model];
    if (!dbk_dialect_is_sql(dbk_target_dialect(definition->database_path)))
        return names_braced(sql, definition->name);
    for (size_t i = 0; i < engine->table_counts[model]; i++) {
        if (dbk_sql_names(sql, engine->tables[model][i]))
            return true;
    }
    return false;
}

static bool is_server(const struct dbk_engine *engine, const char *database)
{
    const struct dbk_book_database *found = dbk_book_database(engine->book, database);
    return found != NULL && dbk_target_dialect(found->path) != DBK_DIALECT_SQLITE;
}

/* Files are attached beside each other; a server is asked alone. */
static bool in_scope(const struct dbk_engine *engine, const struct dbk_rows_options *options,
                     const char *database)
{
    return options->database == NULL ? !is_server(engine, database)
                                     : strcmp(options->database, database) == 0;
}

/* Models that share the append's commit are never read behind the log: that wait is ours, and not
   cut short by the timeout of the caller's `after`. */
static int wait_models(struct dbk_engine *engine, const struct dbk_rows_options *options,
                       struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    uint64_t last = dbk_store_last_position(engine->store);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < book->model_count; i++) {
        const struct dbk_model_definition *model = &book->models[i];
        bool together = engine->writer && model->sync == DBK_SYNC_TRANSACTION;
        if (!in_scope(engine, options, model->database) ||
            !dbk_rows_names_model(engine, options->sql, i))
            continue;
        if (together && last != 0)
            rc = dbk_models_wait(engine->models, model->name, last, CATCH_UP_US, err);
        if (rc == DBK_OK && options->after != 0)
            rc = dbk_models_wait(engine->models, model->name, options->after, options->timeout_us,
                                 err);
    }
    for (size_t i = 0; rc == DBK_OK && options->after != 0 && i < book->view_count; i++) {
        if (in_scope(engine, options, book->views[i].database) &&
            dbk_sql_names(options->sql, book->views[i].name))
            rc = dbk_engine_wait(engine, book->views[i].name, options->after, options->timeout_us,
                                 err);
    }
    return rc;
}

/* ATTACH has no parameters for names: quotes are doubled. */
int dbk_rows_attach(struct dbk_rows *rows, const char *name, const char *path,
                    struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_error failure = {0};
    const char *sql = dbk_arena_format(&rows->arena, "ATTACH ?1 AS \"%s\"", name);
    const char *look =
        dbk_arena_format(&rows->arena, "SELECT 1 FROM \"%s\".sqlite_schema LIMIT 1", name);
    if (sql == NULL || look == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", path);
    struct dbk_value text = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(path)};
    int rc = dbk_statement_open(rows->connection, dbk_slice_of(sql), &statement, NULL, &failure);
    if (rc == DBK_OK) {
        dbk_statement_bind(statement, 1, &text);
        rc = dbk_statement_step(statement, &failure);
    }
    dbk_statement_free(statement);
    /* The file is opened with the first read of it: now, so that a failure is the file's. */
    if (rc == DBK_OK)
        rc = dbk_connection_run(rows->connection, look, &failure);
    return rc < 0 ? dbk_error_set(err, rc, "database %s: %s", path, failure.message) : rc;
}

/* A database whose file no model has made yet has nothing. Only SQLite may open its files: when any
   descriptor of a file is closed, all locks that the process has on it are gone. */
static bool is_missing(const struct dbk_book_database *database)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(database->path, DBK_CONNECT_READ, &connection, NULL);
    dbk_connection_free(connection);
    return rc == DBK_ENOTFOUND;
}

static int open_databases(struct dbk_engine *engine, const struct dbk_rows_options *options,
                          struct dbk_rows *rows, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    int rc = DBK_OK;
    if (options->database != NULL) {
        const struct dbk_book_database *database = dbk_book_database(book, options->database);
        if (database == NULL)
            return dbk_error_set(err, DBK_ENOTFOUND, "there is no database %s", options->database);
        rc = dbk_connection_open(database->path, DBK_CONNECT_READ, &rows->connection, err);
        bool none = rc == DBK_ENOTFOUND && dbk_target_dialect(database->path) == DBK_DIALECT_SQLITE;
        return none ? dbk_connection_open("", DBK_CONNECT_MEMORY, &rows->connection, err) : rc;
    }
    rc = dbk_connection_open("", DBK_CONNECT_MEMORY | DBK_CONNECT_READ, &rows->connection, err);
    for (size_t i = 0; rc == DBK_OK && i < book->database_count; i++) {
        if (is_server(engine, book->databases[i].name))
            continue;
        rc = dbk_rows_attach(rows, book->databases[i].name, book->databases[i].path, err);
        if (rc < 0 && is_missing(&book->databases[i]))
            rc = DBK_OK;
    }
    return rc;
}

/* A statement that fails would end a server's transaction. */
static bool has_catalog(struct dbk_rows *rows)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(rows->connection,
                                DBK_SLICE_LITERAL("SELECT 1 FROM pg_class WHERE relname = "
                                                  "'_daybook_models' AND pg_table_is_visible(oid)"),
                                &statement, NULL, NULL);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, NULL);
    dbk_statement_free(statement);
    return rc == 1;
}

/* The position is that of what is about to be read. */
static int check_stale(struct dbk_engine *engine, const struct dbk_model_definition *model,
                       uint64_t position, struct dbk_error *err)
{
    uint64_t events = 0;
    int64_t lag_us = 0;
    if (!model->refuse_stale)
        return DBK_OK;
    int rc = dbk_models_lag(engine->models, position, &events, &lag_us, err);
    if (rc < 0 || lag_us <= model->max_lag_us)
        return rc;
    return dbk_error_set(err, DBK_ESTALE,
                         "model %s is %" PRIu64 " events and %jd ms behind, and not to be read "
                         "past its max_lag of %jd ms",
                         model->name, events, (intmax_t)(lag_us / 1000),
                         (intmax_t)(model->max_lag_us / 1000));
}

/* A position from a catalog; what is not there yet is at 0. */
static int catalog_position(struct dbk_rows *rows, const char *database, const char *where,
                            const char *name, uint64_t *position, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_error failure = {0};
    uint64_t found = 0;
    bool server = dbk_connection_dialect(rows->connection) != DBK_DIALECT_SQLITE;
    bool own = !dbk_dialect_is_sql(dbk_connection_dialect(rows->connection));
    if (server && !own && !has_catalog(rows))
        return *position = 0, DBK_OK;
    const char *text =
        dbk_arena_format(&rows->arena, "SELECT position FROM %s%s%s%s", server ? "" : "\"",
                         server             ? ""
                         : database == NULL ? "main"
                                            : database,
                         server ? "" : "\".", where);
    if (text == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    int rc =
        own ? dbk_catalog_open(rows->connection, DBK_CATALOG_POSITION, &statement, &failure)
            : dbk_statement_open(rows->connection, dbk_slice_of(text), &statement, NULL, &failure);
    if (rc == DBK_OK) {
        struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(name)};
        dbk_statement_bind(statement, 1, &value);
        rc = dbk_statement_step(statement, &failure);
        if (rc == 1)
            found = (uint64_t)dbk_statement_column(statement, 0).integer;
    }
    dbk_statement_free(statement);
    if (rc < 0 && rc != DBK_EINVAL) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    *position = found < *position ? found : *position;
    return DBK_OK;
}

static int find_position(struct dbk_engine *engine, const struct dbk_rows_options *options,
                         struct dbk_rows *rows, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    uint64_t position = UINT64_MAX;
    int rc = DBK_OK;
    rows->seen = dbk_arena_alloc_zero(&rows->arena, book->model_count + 1, sizeof(*rows->seen));
    if (rows->seen == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    for (size_t i = 0; rc == DBK_OK && i < book->model_count; i++) {
        const char *database = book->models[i].database;
        uint64_t own = UINT64_MAX;
        if (!in_scope(engine, options, database) || !dbk_rows_names_model(engine, options->sql, i))
            continue;
        rc = catalog_position(rows, options->database == NULL ? database : NULL,
                              "_daybook_models WHERE model = ?1 AND serving = 1",
                              book->models[i].name, &own, err);
        if (rc == DBK_OK)
            rc = check_stale(engine, &book->models[i], own == UINT64_MAX ? 0 : own, err);
        position = own < position ? own : position;
        rows->position_max = own > rows->position_max ? own : rows->position_max;
        rows->seen[i] = own == UINT64_MAX ? 0 : own;
    }
    for (size_t i = 0; rc == DBK_OK && i < book->view_count; i++) {
        const char *database = book->views[i].database;
        uint64_t own = UINT64_MAX;
        if (!in_scope(engine, options, database) ||
            !dbk_sql_names(options->sql, book->views[i].name))
            continue;
        rc = catalog_position(rows, options->database == NULL ? database : NULL,
                              "_daybook_views WHERE name = ?1", book->views[i].name, &own, err);
        position = own < position ? own : position;
        rows->position_max = rc == DBK_OK && own > rows->position_max ? own : rows->position_max;
    }
    uint64_t last = dbk_store_last_position(engine->store);
    uint64_t events = 0;
    rows->position = position > last ? last : position;
    rows->position_max = rows->position_max > rows->position ? rows->position_max : rows->position;
    return rc < 0 ? rc
                  : dbk_models_lag(engine->models, rows->position, &events, &rows->lag_us, err);
}

static int bind(struct dbk_rows *rows, const struct dbk_rows_options *options,
                struct dbk_error *err)
{
    for (size_t i = 0; i < options->value_count; i++) {
        struct dbk_value value = options->values[i];
        if (value.kind == DBK_VALUE_TEXT || value.kind == DBK_VALUE_BLOB) {
            value.bytes = dbk_arena_copy(&rows->arena, value.bytes);
            if (value.bytes.data == NULL)
                return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
        }
        dbk_statement_bind(rows->statement, (int)i + 1, &value);
    }
    return DBK_OK;
}

/* What plainly is no reading is said to be none, before SQLite finds another fault with it. */
static int check_reads(struct dbk_slice sql, struct dbk_error *err)
{
    static const char *const words[] = {"SELECT", "WITH", "VALUES", "EXPLAIN"};
    for (size_t offset = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        offset += token.text.size;
        if (token.kind == DBK_SQL_SPACE || token.kind == DBK_SQL_SEMICOLON)
            continue;
        if (token.kind != DBK_SQL_NAME)
            return DBK_OK;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (dbk_sql_name_is(token.text, dbk_slice_of(words[i])))
                return DBK_OK;
        }
        return dbk_error_set(err, DBK_EDENIED,
                             "only reading is possible here: one SELECT, WITH, VALUES or EXPLAIN");
    }
}

static bool is_named(const struct dbk_rows *rows, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(rows->names[i], name) == 0)
            return true;
    }
    return false;
}

/* Two columns of one name, as two sums have in PostgreSQL, are told apart: sum, sum_2. */
static int name_columns(struct dbk_rows *rows, struct dbk_error *err)
{
    int count = dbk_statement_column_count(rows->statement);
    rows->names = dbk_arena_alloc_zero(&rows->arena, (size_t)count + 1, sizeof(*rows->names));
    if (rows->names == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    for (int i = 0; i < count; i++) {
        const char *plain = dbk_statement_column_name(rows->statement, i);
        const char *name = plain;
        for (int number = 2; name != NULL && is_named(rows, i, name); number++)
            name = dbk_arena_format(&rows->arena, "%s_%d", plain, number);
        if (name == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
        rows->names[i] = name;
    }
    return DBK_OK;
}

/* A table that is not found may be a server's, which is asked alone. */
static int hint_at_server(const struct dbk_engine *engine, const struct dbk_rows_options *options,
                          const struct dbk_error *failure, int rc, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    for (size_t i = 0; options->database == NULL && i < book->model_count; i++) {
        const char *database = book->models[i].database;
        if (is_server(engine, database) && dbk_rows_names_model(engine, options->sql, i))
            return dbk_error_set(err, rc, "%s (model %s is in the database %s: ask it by name)",
                                 failure->message, book->models[i].name, database);
    }
    if (err != NULL)
        *err = *failure;
    return rc;
}

/* The connection, in a transaction, that sees what it is to see. */
static int open_now(struct dbk_engine *engine, const struct dbk_rows_options *options,
                    struct dbk_rows *rows, struct dbk_error *err)
{
    int rc = open_databases(engine, options, rows, err);
    bool file = rc == DBK_OK && dbk_connection_dialect(rows->connection) == DBK_DIALECT_SQLITE;
    if (rc == DBK_OK && file)
        rc = dbk_target_attach_events(rows->connection, engine->store, err);
    if (rc == DBK_OK && !file)
        dbk_connection_limit_us(rows->connection, options->limit_us);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(rows->connection, DBK_BEGIN_READ, err);
    if (rc == DBK_OK)
        rc = find_position(engine, options, rows, err);
    if (rc == DBK_OK && file)
        dbk_target_pin_events(rows->connection, rows->position);
    return rc;
}

int dbk_engine_rows(struct dbk_engine *engine, const struct dbk_rows_options *options,
                    struct dbk_rows **rows_out, struct dbk_error *err)
{
    const struct dbk_book_database *asked =
        options->database == NULL ? NULL : dbk_book_database(engine->book, options->database);
    bool own = asked != NULL && !dbk_dialect_is_sql(dbk_target_dialect(asked->path));
    /* Its driver itself lets only reading through. */
    int rc = own ? DBK_OK : check_reads(options->sql, err);
    if (rc == DBK_OK && options->at == NULL)
        rc = wait_models(engine, options, err);
    if (rc < 0)
        return rc;
    struct dbk_rows *rows = dbk_alloc_zero(1, sizeof(*rows));
    if (rows == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    dbk_arena_init(&rows->arena, DBK_ENGINE_TEXT_SIZE_MAX);
    rows->sql = options->sql;
    rows->engine = engine;
    rows->lag_us = -1;
    rc = options->at == NULL ? open_now(engine, options, rows, err)
                             : dbk_rows_open_as_of(engine, options, rows, err);
    if (rc == DBK_OK) {
        if (dbk_connection_dialect(rows->connection) == DBK_DIALECT_SQLITE)
            dbk_connection_limit_us(rows->connection, options->limit_us);
        bool postgres = dbk_connection_dialect(rows->connection) == DBK_DIALECT_POSTGRES;
        dbk_connection_guard(rows->connection,
                             postgres && !options->named ? DBK_GUARD_SENT : DBK_GUARD_QUERY);
        struct dbk_error failure = {0};
        rc = dbk_statement_open(rows->connection, rows->sql, &rows->statement, NULL, &failure);
        if (rc < 0)
            rc = hint_at_server(engine, options, &failure, rc, err);
    }
    if (rc == DBK_OK)
        rc = name_columns(rows, err);
    if (rc == DBK_OK && !dbk_statement_is_read_only(rows->statement))
        rc = dbk_error_set(err, DBK_EDENIED, "only reading is possible here");
    if (rc == DBK_OK)
        rc = bind(rows, options, err);
    if (rc < 0) {
        dbk_rows_free(rows);
        return rc;
    }
    *rows_out = rows;
    return DBK_OK;
}

int dbk_rows_column_count(const struct dbk_rows *rows)
{
    return dbk_statement_column_count(rows->statement);
}

const char *dbk_rows_column_name(const struct dbk_rows *rows, int column)
{
    return rows->names[column];
}

int dbk_rows_next(struct dbk_rows *rows, struct dbk_error *err)
{
    int rc = dbk_statement_step(rows->statement, err);
    for (size_t i = 0; rc == 0 && rows->seen != NULL && i < rows->engine->book->model_count; i++) {
        if (rows->seen[i] != 0)
            dbk_models_seen(rows->engine->models, i, rows->seen[i]);
    }
    return rc;
}

struct dbk_value dbk_rows_value(struct dbk_rows *rows, int column)
{
    return dbk_statement_column(rows->statement, column);
}

void dbk_rows_put(struct dbk_rows *rows, struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    for (int i = 0; i < dbk_rows_column_count(rows); i++) {
        struct dbk_value value = dbk_rows_value(rows, i);
        dbk_json_write_key(out, &first, dbk_rows_column_name(rows, i));
        dbk_value_write_json(out, &value);
    }
    dbk_buf_append_char(out, '}');
}

uint64_t dbk_rows_position(const struct dbk_rows *rows)
{
    return rows->position;
}

int64_t dbk_rows_lag_us(const struct dbk_rows *rows)
{
    return rows->lag_us;
}

static void count_query(const struct dbk_rows *rows)
{
    struct dbk_os *os = rows->engine->os;
    uint64_t us = (uint64_t)(os->monotonic_us(os) - rows->begun_us);
    uint64_t max_us = rows->asked->max_us;
    rows->asked->calls++;
    rows->asked->sum_us += us;
    while (us > max_us && !atomic_compare_exchange_weak(&rows->asked->max_us, &max_us, us))
        ;
}

void dbk_rows_free(struct dbk_rows *rows)
{
    if (rows == NULL)
        return;
    if (rows->asked != NULL)
        count_query(rows);
    dbk_statement_free(rows->statement);
    dbk_connection_free(rows->connection);
    dbk_arena_release(&rows->arena);
    dbk_free(rows);
}

/* ---- Named queries ---- */

#define QUERY_LIMIT_US (INT64_C(30) * 1000000)

const struct dbk_book_query *dbk_engine_find_query(struct dbk_engine *engine, const char *name,
                                                   struct dbk_arena *arena, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    const char **candidates = dbk_arena_alloc(arena, (book->query_count + 1) * sizeof(*candidates));
    const char *closest = NULL;
    for (size_t i = 0; i < book->query_count; i++) {
        if (strcmp(book->queries[i].name, name) == 0)
            return &book->queries[i];
        if (candidates != NULL)
            candidates[i] = book->queries[i].name;
    }
    if (candidates != NULL)
        closest = dbk_closest_name(name, candidates, book->query_count);
    if (closest != NULL)
        (void)dbk_error_set(err, DBK_ENOTFOUND, "there is no query %s; did you mean %s?", name,
                            closest);
    else
        (void)dbk_error_set(err, DBK_ENOTFOUND, "there is no query %s", name);
    return NULL;
}

static int check_unknown(const struct dbk_book_query *query, const struct dbk_json_node *parameters,
                         struct dbk_error *err)
{
    const struct dbk_json_node *member = dbk_json_first(parameters);
    for (uint32_t i = 0; i < parameters->count; i++, member = dbk_json_sibling(member)) {
        bool known = false;
        for (size_t j = 0; j < query->parameter_count; j++)
            known = known || dbk_slice_equal_text(member->key, query->parameters[j]);
        if (!known)
            return dbk_error_set(err, DBK_EINVAL, "query %s has no parameter %.*s", query->name,
                                 DBK_SLICE_ARGS(member->key));
    }
    return DBK_OK;
}

static struct dbk_value value_of(const struct dbk_json_node *node)
{
    switch (node->kind) {
    case DBK_JSON_NULL:
        break;
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        return (struct dbk_value){
            .kind = DBK_VALUE_INTEGER, .integer = node->kind == DBK_JSON_TRUE, .json = true};
    case DBK_JSON_INTEGER:
        return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = node->integer};
    case DBK_JSON_DECIMAL:
        return (struct dbk_value){.kind = DBK_VALUE_DECIMAL, .decimal = node->decimal};
    case DBK_JSON_STRING:
        return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = node->text};
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT:
        return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = node->raw, .json = true};
    }
    return (struct dbk_value){.kind = DBK_VALUE_NULL};
}

static int make_values(const struct dbk_book_query *query, const struct dbk_json_node *parameters,
                       struct dbk_arena *arena, struct dbk_value **values_out,
                       struct dbk_error *err)
{
    struct dbk_value *values =
        dbk_arena_alloc_zero(arena, query->parameter_count + 1, sizeof(*values));
    if (values == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory asking %s", query->name);
    for (size_t i = 0; i < query->parameter_count; i++) {
        const struct dbk_json_node *node =
            parameters == NULL ? NULL : dbk_json_member(parameters, query->parameters[i]);
        if (node == NULL)
            return dbk_error_set(err, DBK_EINVAL, "query %s needs the parameter %s", query->name,
                                 query->parameters[i]);
        values[i] = value_of(node);
    }
    *values_out = values;
    return parameters == NULL ? DBK_OK : check_unknown(query, parameters, err);
}

int dbk_engine_query(struct dbk_engine *engine, const char *name,
                     const struct dbk_json_node *parameters, uint64_t after, int64_t timeout_us,
                     struct dbk_rows **rows_out, struct dbk_error *err)
{
    struct dbk_arena arena;
    struct dbk_buf sql;
    struct dbk_slice *parameter_names = NULL;
    size_t count = 0;
    struct dbk_value *values = NULL;
    dbk_arena_init(&arena, DBK_ENGINE_TEXT_SIZE_MAX);
    dbk_buf_init(&sql, DBK_ENGINE_TEXT_SIZE_MAX);
    const struct dbk_book_query *query = dbk_engine_find_query(engine, name, &arena, err);
    int64_t begun_us = engine->os->monotonic_us(engine->os);
    int rc = query == NULL ? DBK_ENOTFOUND : make_values(query, parameters, &arena, &values, err);
    if (rc == DBK_OK)
        rc = dbk_text_rewrite(query->database == NULL ? DBK_DIALECT_SQLITE
                                                      : dbk_target_dialect(query->database->path),
                              query->sql, NULL, 0, &sql, &arena, &parameter_names, &count, err);
    if (rc == DBK_OK)
        rc = dbk_engine_rows(engine,
                             &(struct dbk_rows_options){
                                 .sql = dbk_buf_slice(&sql),
                                 .database = query->database == NULL ? NULL : query->database->name,
                                 .values = values,
                                 .value_count = count,
                                 .limit_us = QUERY_LIMIT_US,
                                 .named = true,
                                 .after = after,
                                 .timeout_us = timeout_us},
                             rows_out, err);
    if (rc == DBK_OK) {
        (*rows_out)->asked = &engine->queries[query - engine->book->queries];
        (*rows_out)->begun_us = begun_us;
    }
    dbk_buf_release(&sql);
    dbk_arena_release(&arena);
    return rc;
}
