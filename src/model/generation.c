/* SPDX-License-Identifier: Apache-2.0 */
#include "model/generation.h"

#include <stdio.h>

#include "base/assert.h"

#define SQL_SIZE_MAX ((size_t)64 << 20)
/* Rows of an old generation that one transaction removes: a few milliseconds. */
#define DROP_ROWS 400

void dbk_generation_init(struct dbk_generation *generation)
{
    *generation = (struct dbk_generation){0};
    dbk_arena_init(&generation->arena, DBK_DEFINITION_SIZE_MAX);
}

void dbk_generation_release(struct dbk_generation *generation)
{
    dbk_arena_release(&generation->arena);
    *generation = (struct dbk_generation){0};
}

static int format_sql(struct dbk_buf *sql, struct dbk_error *err, const char *format,
                      va_list arguments) DBK_PRINTF(3, 0);
static int format_sql(struct dbk_buf *sql, struct dbk_error *err, const char *format,
                      va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    int rc = size < 0 ? DBK_ENOMEM : dbk_buf_reserve(sql, (size_t)size + 1);
    if (rc == DBK_OK) {
        (void)vsnprintf(sql->data, (size_t)size + 1, format, again);
        sql->size = (size_t)size;
    }
    va_end(again);
    return rc < 0 ? dbk_error_set(err, rc, "a statement: %s", dbk_code_text(rc)) : DBK_OK;
}

int dbk_generation_run(struct dbk_connection *connection, struct dbk_error *err, const char *format,
                       ...)
{
    struct dbk_buf sql;
    va_list arguments;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    va_start(arguments, format);
    int rc = format_sql(&sql, err, format, arguments);
    va_end(arguments);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

int dbk_generation_integer(struct dbk_connection *connection, int64_t *value_out,
                           struct dbk_error *err, const char *format, ...)
{
    struct dbk_buf sql;
    struct dbk_statement *statement = NULL;
    va_list arguments;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    va_start(arguments, format);
    int rc = format_sql(&sql, err, format, arguments);
    va_end(arguments);
    if (rc == DBK_OK)
        rc = dbk_statement_open(connection, dbk_buf_slice(&sql), &statement, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc >= 0)
        *value_out = rc == 1 ? dbk_statement_column(statement, 0).integer : 0;
    dbk_statement_free(statement);
    dbk_buf_release(&sql);
    return rc < 0 ? rc : DBK_OK;
}

/* ---- The catalog of a database that does not speak SQL ---- */

static bool has_own(const struct dbk_connection *connection)
{
    return !dbk_dialect_is_sql(dbk_connection_dialect(connection));
}

static struct dbk_value text_value(const char *text)
{
    return (struct dbk_value){.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(text)};
}

static struct dbk_value number_value(uint64_t number)
{
    return (struct dbk_value){.kind = DBK_VALUE_INTEGER, .integer = (int64_t)number};
}

/* value_out: the first of the row, 0 when there is none; NULL: it is not wanted. */
static int run_catalog(struct dbk_connection *connection, enum dbk_catalog which,
                       const struct dbk_value *values, int count, int64_t *value_out,
                       struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_catalog_open(connection, which, &statement, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < count; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    rc = dbk_statement_step(statement, err);
    if (rc >= 0 && value_out != NULL)
        *value_out = rc == 1 ? dbk_statement_column(statement, 0).integer : 0;
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_generation_newest(struct dbk_connection *connection, const char *model, int64_t *number_out,
                          struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(model)};
    if (has_own(connection))
        return run_catalog(connection, DBK_CATALOG_NEWEST, values, 1, number_out, err);
    return dbk_generation_integer(connection, number_out, err,
                                  "SELECT max(generation) FROM _daybook_models WHERE model = '%s'",
                                  model);
}

int dbk_generation_catalog(struct dbk_connection *connection, struct dbk_error *err)
{
    if (has_own(connection))
        return run_catalog(connection, DBK_CATALOG_MAKE, NULL, 0, NULL, err);
    return dbk_connection_run(connection,
                              "CREATE TABLE IF NOT EXISTS _daybook_models ("
                              "model TEXT NOT NULL, generation BIGINT NOT NULL, "
                              "serving INTEGER NOT NULL, position BIGINT NOT NULL, "
                              "fingerprint TEXT NOT NULL, definition TEXT NOT NULL, "
                              "PRIMARY KEY (model, generation)); "
                              "CREATE TABLE IF NOT EXISTS _daybook_letters ("
                              "model TEXT NOT NULL, generation BIGINT NOT NULL, "
                              "position BIGINT NOT NULL, retried INTEGER NOT NULL, "
                              "reason TEXT NOT NULL, "
                              "PRIMARY KEY (model, generation, position)); "
                              "CREATE TABLE IF NOT EXISTS _daybook_forgotten ("
                              "model TEXT NOT NULL, generation BIGINT NOT NULL, "
                              "position BIGINT NOT NULL, PRIMARY KEY (model, generation))",
                              err);
}

int dbk_generation_purged(struct dbk_connection *connection, const char *model, uint64_t number,
                          uint64_t *position_out, struct dbk_error *err)
{
    int64_t position = 0;
    const struct dbk_value values[] = {text_value(model), number_value(number)};
    int rc =
        has_own(connection)
            ? run_catalog(connection, DBK_CATALOG_PURGED, values, 2, &position, err)
            : dbk_generation_integer(connection, &position, err,
                                     "SELECT max(position) FROM _daybook_forgotten WHERE model = "
                                     "'%s' AND generation = %ju",
                                     model, (uintmax_t)number);
    *position_out = (uint64_t)position;
    return rc;
}

int dbk_generation_set_purged(struct dbk_connection *connection, const char *model, uint64_t number,
                              uint64_t position, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(model), number_value(number),
                                       number_value(position)};
    if (has_own(connection))
        return run_catalog(connection, DBK_CATALOG_SET_PURGED, values, 3, NULL, err);
    return dbk_generation_run(connection, err,
                              "INSERT INTO _daybook_forgotten VALUES ('%s', %ju, %ju) ON CONFLICT "
                              "(model, generation) DO UPDATE SET position = excluded.position",
                              model, (uintmax_t)number, (uintmax_t)position);
}

int dbk_generation_has_catalog(struct dbk_connection *connection, bool *there_out,
                               struct dbk_error *err)
{
    int64_t count = 0;
    /* One without it has no nodes or documents of it, which is no error there. */
    if (has_own(connection))
        return *there_out = true, DBK_OK;
    int rc = dbk_connection_dialect(connection) == DBK_DIALECT_SQLITE
                 ? dbk_generation_integer(connection, &count, err,
                                          "SELECT count(*) FROM sqlite_schema WHERE name = "
                                          "'_daybook_models'")
                 : dbk_generation_integer(connection, &count, err,
                                          "SELECT count(*) FROM pg_class WHERE relname = "
                                          "'_daybook_models' AND pg_table_is_visible(oid)");
    if (rc == DBK_OK)
        *there_out = count != 0;
    return rc;
}

/* Objects and renames follow from the definition. */
static int work_out(struct dbk_generation *generation, struct dbk_error *err)
{
    int rc = dbk_definition_objects(&generation->definition, &generation->arena,
                                    &generation->objects, &generation->object_count, err);
    if (rc == DBK_OK)
        rc = dbk_definition_renames(generation->objects, generation->object_count,
                                    generation->number, &generation->arena, &generation->renames,
                                    err);
    return rc;
}

static int read_row(struct dbk_statement *statement, const struct dbk_model_definition *model,
                    struct dbk_generation *generation, struct dbk_error *err)
{
    generation->number = (uint64_t)dbk_statement_column(statement, 0).integer;
    generation->position = (uint64_t)dbk_statement_column(statement, 1).integer;
    (void)snprintf(generation->fingerprint, sizeof(generation->fingerprint), "%.*s",
                   DBK_SLICE_ARGS(dbk_statement_column(statement, 2).bytes));
    generation->definition.name = model->name;
    generation->definition.database = model->database;
    generation->definition.database_path = model->database_path;
    int rc = dbk_definition_decode(dbk_statement_column(statement, 3).bytes, &generation->arena,
                                   &generation->definition, err);
    return rc < 0 ? rc : work_out(generation, err);
}

int dbk_generation_find(struct dbk_connection *connection, const struct dbk_model_definition *model,
                        bool serving, struct dbk_generation *generation, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc =
        has_own(connection)
            ? dbk_catalog_open(connection, DBK_CATALOG_FIND, &statement, err)
            : dbk_statement_open(
                  connection,
                  DBK_SLICE_LITERAL("SELECT generation, position, fingerprint, definition FROM "
                                    "_daybook_models WHERE model = ?1 AND serving = ?2 "
                                    "ORDER BY generation DESC LIMIT 1"),
                  &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value name = {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(model->name)};
    struct dbk_value wanted = {.kind = DBK_VALUE_INTEGER, .integer = serving};
    dbk_statement_bind(statement, 1, &name);
    dbk_statement_bind(statement, 2, &wanted);
    rc = dbk_statement_step(statement, err);
    if (rc == 1)
        rc = read_row(statement, model, generation, err);
    dbk_statement_free(statement);
    return rc;
}

/* A schema's statements under the generation's names. */
static int run_schema(struct dbk_connection *connection, const struct dbk_generation *generation,
                      struct dbk_arena *arena, struct dbk_error *err)
{
    struct dbk_slice schema = generation->definition.schema;
    struct dbk_buf text;
    size_t offset = 0;
    int rc = DBK_OK;
    dbk_buf_init(&text, SQL_SIZE_MAX);
    while (rc == DBK_OK) {
        struct dbk_slice *names = NULL;
        size_t count = 0;
        struct dbk_statement *statement = NULL;
        struct dbk_slice sql =
            dbk_text_statement(dbk_connection_dialect(connection), schema, offset, &offset);
        if (sql.size == 0)
            break;
        dbk_buf_reset(&text);
        rc = dbk_text_rewrite(dbk_connection_dialect(connection), sql, generation->renames,
                              generation->object_count, &text, arena, &names, &count, err);
        dbk_connection_guard(connection, DBK_GUARD_SCHEMA);
        if (rc == DBK_OK)
            rc = dbk_statement_open(connection, dbk_buf_slice(&text), &statement, NULL, err);
        if (rc == DBK_OK)
            rc = dbk_statement_step(statement, err);
        dbk_statement_free(statement);
        dbk_connection_guard(connection, DBK_GUARD_NONE);
    }
    dbk_buf_release(&text);
    return rc;
}

static bool is_table(const struct dbk_object *object)
{
    return object->kind == DBK_OBJECT_TABLE || object->kind == DBK_OBJECT_VIEW;
}

static int make_views(struct dbk_connection *connection, const struct dbk_generation *generation,
                      struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < generation->object_count; i++) {
        struct dbk_slice name = generation->objects[i].name;
        if (is_table(&generation->objects[i]))
            rc = dbk_generation_run(
                connection, err, "CREATE VIEW \"%.*s\" AS SELECT * FROM \"%.*s\"",
                DBK_SLICE_ARGS(name), DBK_SLICE_ARGS(generation->renames[i].to));
    }
    return rc;
}

static int insert_row(struct dbk_connection *connection, const struct dbk_generation *generation,
                      struct dbk_slice text, bool serving, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = has_own(connection)
                 ? dbk_catalog_open(connection, DBK_CATALOG_INSERT, &statement, err)
                 : dbk_statement_open(
                       connection,
                       DBK_SLICE_LITERAL(
                           "INSERT INTO _daybook_models (model, generation, serving, position, "
                           "fingerprint, definition) VALUES (?1, ?2, ?3, 0, ?4, ?5)"),
                       &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(generation->definition.name)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)generation->number},
        {.kind = DBK_VALUE_INTEGER, .integer = serving},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(generation->fingerprint)},
        {.kind = DBK_VALUE_TEXT, .bytes = text},
    };
    for (int i = 0; i < 5; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc;
}

static int create_all(struct dbk_connection *connection, struct dbk_generation *generation,
                      struct dbk_slice text, bool serving, uint64_t position, struct dbk_error *err)
{
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = run_schema(connection, generation, &generation->arena, err);
    if (rc == DBK_OK && serving && !has_own(connection))
        rc = make_views(connection, generation, err);
    if (rc == DBK_OK)
        rc = insert_row(connection, generation, text, serving, err);
    if (rc == DBK_OK)
        rc = dbk_generation_set_purged(connection, generation->definition.name, generation->number,
                                       position, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

int dbk_generation_create(struct dbk_connection *connection,
                          const struct dbk_model_definition *model, uint64_t number, bool serving,
                          uint64_t position, struct dbk_error *err)
{
    struct dbk_generation generation;
    struct dbk_buf text;
    struct dbk_error failure = {0};
    dbk_generation_init(&generation);
    dbk_buf_init(&text, DBK_DEFINITION_SIZE_MAX);
    generation.number = number;
    generation.definition = *model;
    int rc = dbk_definition_encode(model, &text, &failure);
    if (rc == DBK_OK)
        rc = work_out(&generation, &failure);
    if (rc == DBK_OK) {
        dbk_definition_fingerprint(dbk_buf_slice(&text), generation.fingerprint);
        rc = create_all(connection, &generation, dbk_buf_slice(&text), serving, position, &failure);
    }
    dbk_buf_release(&text);
    dbk_generation_release(&generation);
    dbk_definition_plain(&failure);
    return rc < 0 ? dbk_error_set(err, rc, "model %s: its tables cannot be made: %s", model->name,
                                  failure.message)
                  : DBK_OK;
}

int dbk_generation_swap(struct dbk_connection *connection, const struct dbk_generation *old,
                        const struct dbk_generation *next, struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(next->definition.name),
                                       number_value(next->number)};
    if (has_own(connection))
        return run_catalog(connection, DBK_CATALOG_SERVE, values, 2, NULL, err);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < old->object_count; i++) {
        if (is_table(&old->objects[i]))
            rc = dbk_generation_run(connection, err, "DROP VIEW IF EXISTS \"%.*s\"",
                                    DBK_SLICE_ARGS(old->objects[i].name));
    }
    if (rc == DBK_OK)
        rc = make_views(connection, next, err);
    if (rc == DBK_OK)
        rc = dbk_generation_run(connection, err,
                                "UPDATE _daybook_models SET serving = CASE WHEN generation = %ju "
                                "THEN 1 ELSE 0 END "
                                "WHERE model = '%s'",
                                (uintmax_t)next->number, next->definition.name);
    return rc;
}

/* Empties a table in small transactions. One WITHOUT ROWID is dropped as it is. */
static int empty_table(struct dbk_connection *connection, struct dbk_slice table,
                       struct dbk_error *err)
{
    int64_t left = 1;
    int rc = DBK_OK;
    while (rc == DBK_OK && left != 0) {
        if (dbk_generation_run(connection, NULL,
                               "DELETE FROM \"%.*s\" WHERE rowid IN (SELECT rowid FROM \"%.*s\" "
                               "LIMIT %d)",
                               DBK_SLICE_ARGS(table), DBK_SLICE_ARGS(table), DROP_ROWS) < 0)
            return DBK_OK;
        rc =
            dbk_generation_integer(connection, &left, err, "SELECT EXISTS (SELECT 1 FROM \"%.*s\")",
                                   DBK_SLICE_ARGS(table));
    }
    return rc;
}

/* The triggers by which views follow a table: what is removed with it is no change to them. */
static int drop_followers(struct dbk_connection *connection, struct dbk_slice table,
                          struct dbk_error *err)
{
    for (;;) {
        struct dbk_statement *statement = NULL;
        char name[512] = "";
        int rc = dbk_statement_open(
            connection,
            DBK_SLICE_LITERAL("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name "
                              "= ?1 AND substr(name, 1, 9) = '_daybook_'"),
            &statement, NULL, err);
        if (rc < 0)
            return rc;
        struct dbk_value value = {.kind = DBK_VALUE_TEXT, .bytes = table};
        dbk_statement_bind(statement, 1, &value);
        rc = dbk_statement_step(statement, err);
        if (rc == 1)
            (void)snprintf(name, sizeof(name), "%.*s",
                           DBK_SLICE_ARGS(dbk_statement_column(statement, 0).bytes));
        dbk_statement_free(statement);
        if (rc <= 0)
            return rc;
        rc = dbk_generation_run(connection, err, "DROP TRIGGER \"%s\"", name);
        if (rc < 0)
            return rc;
    }
}

static int drop_objects(struct dbk_connection *connection, const struct dbk_generation *generation,
                        enum dbk_object_kind kind, const char *word, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = generation->object_count; rc == DBK_OK && i-- > 0;) {
        struct dbk_slice name = generation->renames[i].to;
        int64_t there = 0;
        if (generation->objects[i].kind != kind)
            continue;
        rc = dbk_generation_integer(connection, &there, err,
                                    "SELECT count(*) FROM sqlite_schema WHERE name = '%.*s'",
                                    DBK_SLICE_ARGS(name));
        if (rc == DBK_OK && there != 0 && kind == DBK_OBJECT_TABLE)
            rc = drop_followers(connection, name, err);
        if (rc == DBK_OK && there != 0 && kind == DBK_OBJECT_TABLE)
            rc = empty_table(connection, name, err);
        if (rc == DBK_OK && there != 0)
            rc =
                dbk_generation_run(connection, err, "DROP %s \"%.*s\"", word, DBK_SLICE_ARGS(name));
    }
    return rc;
}

/* A server drops a table at once; indexes and triggers go with it. */
static int drop_at_server(struct dbk_connection *connection,
                          const struct dbk_generation *generation, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = generation->object_count; rc == DBK_OK && i-- > 0;) {
        if (is_table(&generation->objects[i]))
            rc = dbk_generation_run(connection, err, "DROP %s IF EXISTS \"%.*s\" CASCADE",
                                    generation->objects[i].kind == DBK_OBJECT_VIEW ? "VIEW"
                                                                                   : "TABLE",
                                    DBK_SLICE_ARGS(generation->renames[i].to));
    }
    return rc;
}

static int drop_bit_by_bit(struct dbk_connection *connection,
                           const struct dbk_generation *generation, struct dbk_error *err)
{
    int rc = dbk_connection_run(connection, "PRAGMA foreign_keys = OFF", err);
    if (rc == DBK_OK)
        rc = drop_objects(connection, generation, DBK_OBJECT_TRIGGER, "TRIGGER", err);
    if (rc == DBK_OK)
        rc = drop_objects(connection, generation, DBK_OBJECT_VIEW, "VIEW", err);
    if (rc == DBK_OK)
        rc = drop_objects(connection, generation, DBK_OBJECT_INDEX, "INDEX", err);
    if (rc == DBK_OK)
        rc = drop_objects(connection, generation, DBK_OBJECT_TABLE, "TABLE", err);
    return rc;
}

/* Its nodes or documents first, and then what says that they are there. */
static int drop_own(struct dbk_connection *connection, const struct dbk_generation *generation,
                    struct dbk_error *err)
{
    const struct dbk_value values[] = {text_value(generation->definition.name),
                                       number_value(generation->number)};
    int rc = generation->object_count == 0
                 ? DBK_OK
                 : dbk_connection_drop(connection, generation->renames[0].to, err);
    return rc < 0 ? rc : run_catalog(connection, DBK_CATALOG_REMOVE, values, 2, NULL, err);
}

int dbk_generation_drop(const struct dbk_generation *generation, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    int rc = dbk_connection_open(generation->definition.database_path, 0, &connection, err);
    if (rc == DBK_OK && has_own(connection)) {
        rc = drop_own(connection, generation, err);
        dbk_connection_free(connection);
        return rc;
    }
    if (rc == DBK_OK && dbk_connection_dialect(connection) == DBK_DIALECT_SQLITE)
        rc = drop_bit_by_bit(connection, generation, err);
    else if (rc == DBK_OK)
        rc = drop_at_server(connection, generation, err);
    if (rc == DBK_OK)
        rc = dbk_generation_run(connection, err,
                                "DELETE FROM _daybook_models WHERE model = '%s' AND generation = "
                                "%ju AND serving = 0",
                                generation->definition.name, (uintmax_t)generation->number);
    if (rc == DBK_OK)
        rc = dbk_generation_run(connection, err,
                                "DELETE FROM _daybook_letters WHERE model = '%s' AND generation "
                                "= %ju",
                                generation->definition.name, (uintmax_t)generation->number);
    if (rc == DBK_OK)
        rc = dbk_generation_run(connection, err,
                                "DELETE FROM _daybook_forgotten WHERE model = '%s' AND generation "
                                "= %ju",
                                generation->definition.name, (uintmax_t)generation->number);
    dbk_connection_free(connection);
    return rc;
}
