/* SPDX-License-Identifier: Apache-2.0 */
/* impact: who uses what a migration changes. */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/schema_rows.h"
#include "service/impact.h"
#include "target/target.h"

#define MEMORY_MAX ((size_t)1 << 30)
#define TEXTS_MAX 20000
#define SEEN_SQL                                                                                   \
    "SELECT r.rolname, s.query FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid "     \
    "JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database() "                   \
    "ORDER BY s.calls DESC"

struct work {
    struct dbk_arena arena;
    struct dbk_book *book;
    struct dbk_buf file;
    struct dbk_impact_text *texts;
    struct dbk_impact_script *scripts;
    struct dbk_impact_scope scope;
    struct dbk_migration migration;
    struct dbk_impact impact;
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- The database ---- */

static int take(struct work *work, const char *name, struct dbk_error *err)
{
    const struct dbk_book_database *database = dbk_book_database(work->book, name);
    if (database == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "book.yaml has no database %s", name);
    if (!dbk_dialect_is_sql(dbk_target_dialect(database->path)))
        return dbk_error_set(err, DBK_EINVAL,
                             "the database %s is not changed by SQL: only PostgreSQL's and "
                             "SQLite's migrations are judged",
                             name);
    work->scope.database = database->name;
    work->scope.address = database->path;
    return DBK_OK;
}

/* The one that services have. */
static int choose(struct work *work, struct dbk_error *err)
{
    const char *found = NULL;
    for (size_t i = 0; i < work->book->service_count; i++) {
        const char *database = work->book->services[i].database;
        if (database == NULL || (found != NULL && strcmp(found, database) == 0))
            continue;
        if (found != NULL)
            return dbk_error_set(err, DBK_EINVAL,
                                 "services have several databases: say with --database whether "
                                 "the migration is for %s, %s or another one",
                                 found, database);
        found = database;
    }
    if (found == NULL)
        return dbk_error_set(err, DBK_EINVAL,
                             "no service has a database: say with --database which one the "
                             "migration is for");
    return take(work, found, err);
}

/* ---- Texts ---- */

static void put_queries(struct work *work)
{
    const struct dbk_book *book = work->book;
    for (size_t i = 0; i < book->query_count; i++) {
        const struct dbk_book_query *query = &book->queries[i];
        work->texts[work->scope.text_count++] = (struct dbk_impact_text){
            .kind = "query",
            .name = query->name,
            .file = query->file,
            .database = query->database == NULL ? NULL : query->database->name,
            .sql = query->sql};
    }
}

static void put_script(struct work *work, const char *kind, const char *name, const char *file,
                       struct dbk_slice source)
{
    work->scripts[work->scope.script_count++] =
        (struct dbk_impact_script){kind, name, file, source};
}

static int put_scripts(struct work *work, struct dbk_error *err)
{
    const struct dbk_book *book = work->book;
    size_t schemas = dbk_schemas_count(book->schemas);
    work->scripts =
        dbk_arena_alloc_zero(&work->arena, book->fold_count + book->saga_count + 2 * schemas + 1,
                             sizeof(*work->scripts));
    if (work->scripts == NULL)
        return no_memory(err);
    for (size_t i = 0; i < book->fold_count; i++)
        put_script(work, "fold", book->folds[i].name, book->folds[i].file, book->folds[i].source);
    for (size_t i = 0; i < book->saga_count; i++)
        put_script(work, "saga", book->sagas[i].name, book->sagas[i].file, book->sagas[i].source);
    for (size_t i = 0; i < schemas; i++) {
        const struct dbk_schema *schema = dbk_schemas_at(book->schemas, i);
        const struct dbk_schema_script *script = dbk_schema_script(schema);
        const char *type = dbk_arena_copy(&work->arena, dbk_schema_type(schema)).data;
        if (type == NULL)
            return no_memory(err);
        put_script(work, "schema", type, dbk_schema_file(schema), dbk_schema_source(schema)->raw);
        if (script != NULL)
            put_script(work, "upcaster", type, script->file, script->source);
    }
    work->scope.scripts = work->scripts;
    return DBK_OK;
}

/* What reads or changes rows; the rest of what a server has seen is none of these. */
static bool is_use(struct dbk_slice sql)
{
    static const char *const words[] = {"select", "insert", "update", "delete", "merge", "with"};
    for (size_t at = 0; at < sql.size;) {
        struct dbk_sql_token token = dbk_sql_next(sql, at);
        if (token.text.size == 0)
            return false;
        at += token.text.size;
        if (token.kind == DBK_SQL_SPACE || dbk_slice_equal_text(token.text, "("))
            continue;
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (dbk_sql_name_is(token.text, dbk_slice_of(words[i])))
                return true;
        }
        return false;
    }
    return false;
}

static int put_seen(struct work *work, struct dbk_statement *statement, struct dbk_error *err)
{
    struct dbk_value role = dbk_statement_column(statement, 0);
    struct dbk_value query = dbk_statement_column(statement, 1);
    if (role.kind != DBK_VALUE_TEXT || query.kind != DBK_VALUE_TEXT)
        return DBK_OK;
    if (dbk_slice_equal_text(query.bytes, "<insufficient privilege>"))
        return dbk_error_set(err, DBK_EDENIED,
                             "the database %s does not show the statements of %.*s: grant its "
                             "user pg_read_all_stats",
                             work->scope.database, DBK_SLICE_ARGS(role.bytes));
    if (!is_use(query.bytes))
        return DBK_OK;
    if (work->scope.text_count == TEXTS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "more than %d statements: none is left out",
                             TEXTS_MAX);
    struct dbk_impact_text text = {.kind = "observed",
                                   .database = work->scope.database,
                                   .name = dbk_arena_copy(&work->arena, role.bytes).data,
                                   .sql = dbk_arena_copy(&work->arena, query.bytes)};
    if (text.name == NULL || text.sql.data == NULL)
        return no_memory(err);
    work->texts[work->scope.text_count++] = text;
    return DBK_OK;
}

static int observe(struct work *work, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_statement *statement = NULL;
    struct dbk_error failure = {0};
    if (dbk_target_dialect(work->scope.address) != DBK_DIALECT_POSTGRES)
        return dbk_error_set(err, DBK_EINVAL,
                             "--observed asks PostgreSQL, and %s is a SQLite file, which keeps no "
                             "statements",
                             work->scope.database);
    int rc = dbk_connection_open(work->scope.address, DBK_CONNECT_READ, &connection, err);
    if (rc < 0)
        return rc;
    rc = dbk_statement_open(connection, DBK_SLICE_LITERAL(SEEN_SQL), &statement, NULL, &failure);
    while (rc >= 0 && (rc = dbk_statement_step(statement, &failure)) == 1) {
        rc = put_seen(work, statement, err);
        if (rc < 0)
            goto out;
    }
    if (rc < 0)
        rc = dbk_error_set(err, rc == DBK_EINVAL ? DBK_ENOTFOUND : rc,
                           "the database %s tells nothing of statements that it has seen "
                           "(pg_stat_statements): %s",
                           work->scope.database, failure.message);
out:
    dbk_statement_free(statement);
    dbk_connection_free(connection);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- Rows ---- */

static void put_text(struct dbk_buf *out, bool *first, const char *key, const char *text)
{
    dbk_json_write_key(out, first, key);
    if (text == NULL)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, dbk_slice_of(text));
}

static void put_row(struct dbk_buf *out, const struct dbk_impact_row *row)
{
    const struct dbk_change *change = row->change;
    bool first = true;
    dbk_buf_append_char(out, '{');
    dbk_json_write_key(out, &first, "line");
    dbk_json_write_u64(out, change->line);
    dbk_json_write_key(out, &first, "column");
    dbk_json_write_u64(out, change->place);
    put_text(out, &first, "change", change->text);
    put_text(out, &first, "verdict", dbk_impact_verdict_text(row->verdict));
    put_text(out, &first, "kind", row->kind);
    put_text(out, &first, "user", row->user);
    dbk_json_write_key(out, &first, "version");
    if (row->version == 0)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_u64(out, row->version);
    put_text(out, &first, "file", row->file);
    dbk_json_write_key(out, &first, "file_line");
    if (row->line == 0)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_u64(out, row->line);
    put_text(out, &first, "why", row->why);
    put_text(out, &first, "first", row->first);
    dbk_json_write_key(out, &first, "statement");
    if (row->seen.data == NULL)
        dbk_buf_append_text(out, "null");
    else
        dbk_json_write_string(out, row->seen);
    dbk_buf_append_char(out, '}');
}

static int show(const struct dbk_arguments *arguments, const struct work *work,
                struct dbk_error *err)
{
    static const char *const columns[] = {"line", "change",  "verdict", "kind",
                                          "user", "version", "file",    "file_line",
                                          "why",  "first",   NULL};
    struct dbk_schema_rows rows;
    int rc = dbk_schema_rows_open(arguments, columns, &rows, err);
    for (size_t i = 0; rc == DBK_OK && i < work->impact.count; i++) {
        put_row(&rows.row, &work->impact.rows[i]);
        rc = dbk_schema_rows_put(&rows, err);
    }
    if (rc == DBK_OK)
        rc = dbk_schema_rows_end(&rows, err);
    dbk_schema_rows_close(&rows);
    return rc;
}

static int judge(struct work *work, const struct dbk_arguments *arguments, struct dbk_error *err)
{
    const char *file = arguments->positional[0];
    const char *database = dbk_arguments_text(arguments, "database");
    const struct dbk_book *book = work->book;
    work->texts =
        dbk_arena_alloc_zero(&work->arena, book->query_count + TEXTS_MAX, sizeof(*work->texts));
    if (work->texts == NULL)
        return no_memory(err);
    int rc = database == NULL ? choose(work, err) : take(work, database, err);
    if (rc == DBK_OK)
        rc = dbk_os_read_file(dbk_os_real(), file, DBK_SERVICE_SQL_SIZE_MAX + 1, &work->file, err);
    if (rc < 0)
        return rc;
    work->migration = (struct dbk_migration){.file = file,
                                             .text = dbk_buf_slice(&work->file),
                                             .dialect = dbk_target_dialect(work->scope.address),
                                             .arena = &work->arena};
    rc = dbk_migration_read(&work->migration, err);
    if (rc < 0)
        return rc;
    put_queries(work);
    rc = put_scripts(work, err);
    if (rc == DBK_OK && dbk_arguments_has(arguments, "observed"))
        rc = observe(work, err);
    work->scope.services = book->service_definitions;
    work->scope.service_count = book->service_count;
    work->scope.models = book->models;
    work->scope.model_count = book->model_count;
    work->scope.views = book->views;
    work->scope.view_count = book->view_count;
    work->scope.commands = book->service_commands;
    work->scope.command_count = book->service_command_count;
    work->scope.texts = work->texts;
    if (rc == DBK_OK && work->migration.dialect == DBK_DIALECT_SQLITE) {
        rc = dbk_connection_open(work->scope.address, DBK_CONNECT_READ | DBK_CONNECT_FOREIGN,
                                 &work->scope.connection, err);
        rc = rc == DBK_ENOTFOUND ? DBK_OK : rc; /* Words alone tell. */
    }
    return rc < 0 ? rc : dbk_impact_judge(&work->scope, &work->migration, &work->impact, err);
}

int dbk_run_impact(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct work work = {0};
    dbk_arena_init(&work.arena, MEMORY_MAX);
    dbk_buf_init(&work.file, DBK_SERVICE_SQL_SIZE_MAX + 1);
    int rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &work.book, &err);
    if (rc == DBK_OK)
        rc = judge(&work, arguments, &err);
    if (rc == DBK_OK)
        rc = show(arguments, &work, &err);
    if (rc == DBK_OK && work.impact.breaks + work.impact.unknown > 0)
        rc = dbk_error_set(&err, DBK_EREFUSED, "%s breaks %zu, and may break %zu more",
                           arguments->positional[0], work.impact.breaks, work.impact.unknown);
    dbk_connection_free(work.scope.connection);
    dbk_buf_release(&work.file);
    dbk_book_free(work.book);
    dbk_arena_release(&work.arena);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
