/* SPDX-License-Identifier: Apache-2.0 */
/* impact: who uses what a migration changes. */
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "base/time.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/place.h"
#include "cli/schema_rows.h"
#include "service/ask.h"
#include "service/impact.h"
#include "target/target.h"

#define MEMORY_MAX ((size_t)1 << 30)
#define TEXTS_MAX 20000
#define AMBIGUOUS_SQL                                                                              \
    "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE "  \
    "c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname "  \
    "!~ '^pg_' GROUP BY 1 HAVING count(*) > 1"

struct work {
    struct dbk_arena arena;
    struct dbk_book *book;
    struct dbk_buf file;
    struct dbk_impact_text *texts;
    struct dbk_impact_script *scripts;
    struct dbk_observed observed;
    const char **ambiguous;
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

/* Those that the server has forgotten, too: they were done. */
static void put_seen(struct work *work)
{
    for (size_t i = 0; i < work->observed.count; i++) {
        const struct dbk_observed_statement *statement = &work->observed.items[i];
        if (dbk_observed_is_use(statement->sql))
            work->texts[work->scope.text_count++] =
                (struct dbk_impact_text){.kind = "observed",
                                         .database = work->scope.database,
                                         .name = statement->role,
                                         .sql = statement->sql,
                                         .after_us = statement->after_us,
                                         .by_us = statement->by_us};
    }
}

static int take_name(void *context, const char *const *columns, struct dbk_error *err)
{
    struct work *work = context;
    const char *name = dbk_arena_copy(&work->arena, dbk_slice_of(columns[0])).data;
    if (name == NULL)
        return no_memory(err);
    if (work->scope.ambiguous_count == TEXTS_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "more than %d tables have the name of another",
                             TEXTS_MAX);
    work->ambiguous[work->scope.ambiguous_count++] = name;
    return DBK_OK;
}

/* Asks the server now, and keeps what it says beside the book's data, where there are any. */
static int ask_server(struct work *work, const char *path, struct dbk_error *err)
{
    struct dbk_os *os = dbk_os_real();
    struct dbk_connection *connection = NULL;
    struct dbk_error failure = {0};
    work->ambiguous = dbk_arena_alloc_zero(&work->arena, TEXTS_MAX, sizeof(*work->ambiguous));
    if (work->ambiguous == NULL)
        return no_memory(err);
    work->scope.ambiguous = work->ambiguous;
    int rc = dbk_connection_open(work->scope.address, DBK_CONNECT_READ, &connection, err);
    if (rc < 0)
        return rc;
    rc = dbk_observed_look(&work->observed, connection, os->now_us(os), &failure);
    if (rc == DBK_OK)
        rc = dbk_ask(connection, AMBIGUOUS_SQL, NULL, take_name, work, &failure);
    dbk_connection_free(connection);
    if (rc < 0)
        return dbk_error_set(err, rc, "the database %s: %s", work->scope.database, failure.message);
    put_seen(work);
    rc = dbk_observed_write(&work->observed, os, path, &failure);
    if (rc < 0 && rc != DBK_ENOTFOUND)
        (void)fprintf(stderr, "daybook: when statements were last done is not kept: %s\n",
                      failure.message);
    return DBK_OK;
}

static int observe(struct work *work, const struct dbk_place *place, bool ask,
                   struct dbk_error *err)
{
    char data[DBK_PLACE_SIZE_MAX];
    work->observed.arena = &work->arena;
    if (dbk_target_dialect(work->scope.address) != DBK_DIALECT_POSTGRES)
        return !ask ? DBK_OK
                    : dbk_error_set(err, DBK_EINVAL,
                                    "--observed asks PostgreSQL, and %s is a SQLite file, which "
                                    "keeps no statements",
                                    work->scope.database);
    int rc = dbk_place_data(place, data, err);
    if (rc < 0)
        return rc;
    const char *path = dbk_observed_path(&work->arena, data, work->scope.database);
    if (path == NULL)
        return no_memory(err);
    rc = dbk_observed_read(&work->observed, dbk_os_real(), path, err);
    if (rc == DBK_OK && ask)
        rc = ask_server(work, path, err);
    work->scope.observed = &work->observed;
    return rc;
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

static void put_time(struct dbk_buf *out, bool *first, const char *key, int64_t time_us)
{
    char text[DBK_TIME_TEXT_SIZE];
    if (time_us != 0)
        dbk_time_format(time_us, text);
    put_text(out, first, key, time_us == 0 ? NULL : text);
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
    put_time(out, &first, "last_seen", row->by_us);
    put_time(out, &first, "seen_after", row->after_us);
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
    static const char *const columns[] = {"line", "change",  "verdict",   "kind",
                                          "user", "version", "file",      "file_line",
                                          "why",  "first",   "last_seen", NULL};
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

static int judge(struct work *work, const struct dbk_arguments *arguments,
                 const struct dbk_place *place, struct dbk_error *err)
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
    if (rc == DBK_OK)
        rc = observe(work, place, dbk_arguments_has(arguments, "observed"), err);
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
        rc = judge(&work, arguments, &place, &err);
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
