/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A definition is tried in an empty database in memory: SQLite itself says what does not fit. What
 * is for a server is parsed; which tables and columns there are only the server can tell.
 */
#include "model/lineage.h"
#include "model/poster.h"
#include "model/purge.h"
#include "model/with.h"

#define SQL_SIZE_MAX ((size_t)64 << 20)

struct check {
    const struct dbk_model_definition *definition;
    struct dbk_diagnostics *diagnostics;
    struct dbk_connection *connection;
    struct dbk_arena arena;
    bool faulty;
};

static int fault(struct check *check, const char *file, struct dbk_slice text, size_t offset,
                 unsigned line, const struct dbk_diagnostic *texts)
{
    struct dbk_diagnostic item = *texts;
    check->faulty = true;
    item.file = file;
    dbk_text_place(text, offset, &item.line, &item.column);
    item.line += line - 1;
    return dbk_diagnostics_add(check->diagnostics, &item);
}

static int schema_fault(struct check *check, size_t offset, const char *what, const char *fix)
{
    return fault(check, check->definition->schema_file, check->definition->schema, offset, 1,
                 &(struct dbk_diagnostic){
                     .what = what, .why = "the model's tables could not be made", .fix = fix});
}

/* Runs the schema's statements one by one; each that fails is reported. */
static int check_schema(struct check *check)
{
    struct dbk_slice schema = check->definition->schema;
    size_t offset = 0;
    int rc = DBK_OK;
    while (rc == DBK_OK) {
        struct dbk_statement *statement = NULL;
        struct dbk_error failure = {0};
        int at = -1;
        struct dbk_slice sql = dbk_sql_statement(schema, offset, &offset);
        if (sql.size == 0)
            break;
        dbk_connection_guard(check->connection, DBK_GUARD_SCHEMA);
        int tried = dbk_statement_open(check->connection, sql, &statement, &at, &failure);
        if (tried == DBK_OK)
            tried = dbk_statement_step(statement, &failure);
        dbk_statement_free(statement);
        dbk_connection_guard(check->connection, DBK_GUARD_NONE);
        if (tried == DBK_ENOMEM)
            return tried;
        if (tried < 0)
            rc = schema_fault(check, (size_t)(sql.data - schema.data) + (size_t)(at < 0 ? 0 : at),
                              failure.message, "");
    }
    return rc;
}

static bool is_object(const struct dbk_object *objects, size_t count, struct dbk_slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_sql_name_is(name, objects[i].name))
            return true;
    }
    return false;
}

/* A column that is named as a table would be renamed with it. */
static int check_columns(struct check *check, const struct dbk_object *objects, size_t count)
{
    struct dbk_statement *statement = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_statement_open(
        check->connection,
        DBK_SLICE_LITERAL("SELECT t.name, c.name FROM sqlite_schema t, pragma_table_xinfo(t.name) "
                          "c WHERE t.type IN ('table', 'view')"),
        &statement, NULL, &failure);
    while (rc >= 0 && (rc = dbk_statement_step(statement, &failure)) == 1) {
        struct dbk_slice table = dbk_statement_column(statement, 0).bytes;
        struct dbk_slice column = dbk_statement_column(statement, 1).bytes;
        if (!is_object(objects, count, column))
            continue;
        const char *what = dbk_arena_format(&check->arena,
                                            "column `%.*s` of `%.*s` has the name of a table, an "
                                            "index or a trigger",
                                            DBK_SLICE_ARGS(column), DBK_SLICE_ARGS(table));
        rc = what == NULL ? DBK_ENOMEM
                          : schema_fault(check, 0, what, "name the column or the other otherwise");
    }
    dbk_statement_free(statement);
    return rc == DBK_ENOMEM ? rc : DBK_OK;
}

static int check_handlers(struct check *check)
{
    const struct dbk_model_definition *all = check->definition;
    for (size_t i = 0; i < all->handler_count; i++) {
        struct dbk_model_definition one = *all;
        struct dbk_poster *poster = NULL;
        struct dbk_poster_fault place = {0};
        struct dbk_error failure = {0};
        one.handlers = &all->handlers[i];
        one.handler_count = 1;
        int rc = dbk_poster_open(check->connection, &one, NULL, 0, &poster, &place, &failure);
        dbk_poster_free(poster);
        if (rc == DBK_ENOMEM)
            return rc;
        if (rc < 0)
            rc = fault(check, all->handlers[i].file, all->handlers[i].sql, place.offset,
                       all->handlers[i].line,
                       &(struct dbk_diagnostic){
                           .what = failure.message,
                           .why = "the model would stop at the first event of this type"});
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

/* What can be said depends on the language, of which the file's ending tells; a state cannot be
   sealed. */
static const char *personal_fix(const char *file, bool sealed)
{
    const char *dot = strrchr(file, '.');
    if (dot != NULL && strcmp(dot, ".cypher") == 0)
        return "write into model.yaml `personal: rebuild`, or `personal: purge.cypher` with "
               "statements that take it out";
    if (dot != NULL && strcmp(dot, ".json") == 0)
        return "write into model.yaml `personal: rebuild`, or `personal: purge.json` with "
               "commands that take it out";
    return sealed ? "write into model.yaml `personal: rebuild`, `personal: purge.sql` with "
                    "statements that take it out, or in SQLite `personal: sealed`"
                  : "write into model.yaml `personal: rebuild`, or `personal: purge.sql` with "
                    "statements that take it out";
}

/* A handler's parameter that takes a personal field, of which nothing is said. */
static int personal_fault(struct check *check, const struct dbk_handler *handler, size_t offset,
                          struct dbk_slice parameter, const struct dbk_personal_field *field)
{
    const char *what = dbk_arena_format(
        &check->arena, "`:%.*s` takes the personal field `%.*s` of %.*s", DBK_SLICE_ARGS(parameter),
        DBK_SLICE_ARGS(field->path), DBK_SLICE_ARGS(field->type));
    if (what == NULL)
        return DBK_ENOMEM;
    return fault(
        check, handler->file, handler->sql, offset, handler->line,
        &(struct dbk_diagnostic){.what = what,
                                 .why = "nothing says how it is forgotten with its subject",
                                 .fix = personal_fix(handler->file, true)});
}

/* What a fold makes of its events is not known: a state may hold each personal field of theirs. */
static bool is_personal_state(const struct dbk_model_definition *definition,
                              const struct dbk_with *with)
{
    for (size_t i = 0; i < definition->personal_state_count; i++) {
        struct dbk_slice category = definition->personal_states[i];
        bool own = false;
        for (size_t j = 0; with->category.size == 0 && j < definition->category_count; j++)
            own = own || dbk_slice_equal(definition->categories[j], category);
        if (own || dbk_slice_equal(with->category, category))
            return true;
    }
    return false;
}

static int state_fault(struct check *check, const struct dbk_handler *handler,
                       const struct dbk_with *with)
{
    bool sealed = check->definition->personal == DBK_PERSONAL_SEALED;
    const char *what = dbk_arena_format(
        &check->arena, "the state of `%.*s` may hold personal fields of the events it is made of",
        DBK_SLICE_ARGS(with->stream));
    if (what == NULL)
        return DBK_ENOMEM;
    return fault(check, handler->file, handler->sql, (size_t)(with->name.data - handler->sql.data),
                 handler->line,
                 &(struct dbk_diagnostic){
                     .what = what,
                     .why = sealed ? "a state is in no place that `personal: sealed` could refer to"
                                   : "nothing says how they are forgotten with their subject",
                     .fix = personal_fix(handler->file, false)});
}

static int check_states(struct check *check)
{
    const struct dbk_model_definition *definition = check->definition;
    bool told =
        definition->personal == DBK_PERSONAL_REBUILD || definition->personal == DBK_PERSONAL_PURGE;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && !told && i < definition->handler_count; i++) {
        const struct dbk_handler *handler = &definition->handlers[i];
        struct dbk_withs withs;
        size_t offset = 0;
        const char *fix = NULL;
        int read =
            dbk_withs_read(&withs, handler->sql, dbk_target_dialect(definition->database_path),
                           &check->arena, &offset, &fix, NULL);
        if (read == DBK_ENOMEM)
            return read;
        for (size_t j = 0; rc == DBK_OK && j < withs.count; j++) {
            if (is_personal_state(definition, &withs.items[j]))
                rc = state_fault(check, handler, &withs.items[j]);
        }
        dbk_withs_release(&withs);
    }
    return rc;
}

/* The first in each handler is enough. */
static int check_personal(struct check *check)
{
    const struct dbk_model_definition *definition = check->definition;
    enum dbk_dialect dialect = dbk_target_dialect(definition->database_path);
    for (size_t i = 0; i < definition->handler_count && definition->personal == DBK_PERSONAL_NONE;
         i++) {
        const struct dbk_handler *handler = &definition->handlers[i];
        for (size_t offset = 0; offset < handler->sql.size;) {
            struct dbk_slice name = dbk_text_parameter(dialect, handler->sql, offset, &offset);
            if (name.size == 0)
                break;
            const struct dbk_personal_field *field =
                dbk_lineage_of(definition, handler->type, name);
            if (field == NULL)
                continue;
            int rc = personal_fault(check, handler, (size_t)(name.data - handler->sql.data) - 1,
                                    name, field);
            if (rc < 0)
                return rc;
            break;
        }
    }
    return DBK_OK;
}

/* Statements that forget are prepared as handlers are. */
static int check_purge(struct check *check)
{
    const struct dbk_model_definition *definition = check->definition;
    struct dbk_purge_fault place = {0};
    struct dbk_error failure = {0};
    struct dbk_purge *purge = NULL;
    if (definition->personal != DBK_PERSONAL_PURGE)
        return DBK_OK;
    int rc = dbk_purge_open(check->connection, definition, NULL, 0, &purge, &place, &failure);
    dbk_purge_free(purge);
    if (rc == DBK_OK || rc == DBK_ENOMEM)
        return rc;
    return fault(check, definition->purge_file, definition->purge, place.offset, 1,
                 &(struct dbk_diagnostic){.what = failure.message,
                                          .why = "a subject could not be forgotten",
                                          .fix = "statements that delete or update, with "
                                                 "`:_subject` or `:_stream`"});
}

static int check_twice(struct check *check)
{
    const struct dbk_model_definition *definition = check->definition;
    for (size_t i = 0; i < definition->handler_count; i++) {
        const struct dbk_handler *handler = &definition->handlers[i];
        for (size_t j = 0; j < i; j++) {
            if (!dbk_slice_equal(handler->type, definition->handlers[j].type) ||
                handler->version != definition->handlers[j].version)
                continue;
            const char *what =
                dbk_arena_format(&check->arena, "`%.*s` is handled twice, first at %s:%u",
                                 DBK_SLICE_ARGS(handler->type), definition->handlers[j].file,
                                 definition->handlers[j].line);
            int rc =
                what == NULL
                    ? DBK_ENOMEM
                    : fault(check, handler->file, handler->sql, 0, handler->line,
                            &(struct dbk_diagnostic){.what = what,
                                                     .why = "which of them is meant cannot be told",
                                                     .fix = "keep one"});
            if (rc < 0)
                return rc;
            break;
        }
    }
    return DBK_OK;
}

/* The whole again under a generation's names: renaming must not break what works without. */
static int check_renamed(struct check *check)
{
    struct dbk_error failure = {0};
    struct dbk_arena arena;
    struct dbk_object *objects = NULL;
    struct dbk_sql_rename *renames = NULL;
    struct dbk_connection *connection = NULL;
    struct dbk_buf text;
    struct dbk_slice *names = NULL;
    size_t count = 0;
    size_t name_count = 0;
    struct dbk_poster *poster = NULL;
    dbk_arena_init(&arena, SQL_SIZE_MAX);
    dbk_buf_init(&text, SQL_SIZE_MAX);
    int rc = dbk_definition_objects(check->definition, &arena, &objects, &count, &failure);
    if (rc == DBK_OK)
        rc = dbk_definition_renames(objects, count, 1, &arena, &renames, &failure);
    if (rc == DBK_OK)
        rc = dbk_sql_rewrite(check->definition->schema, renames, count, &text, &arena, &names,
                             &name_count, &failure);
    dbk_buf_append_char(&text, 0);
    if (rc == DBK_OK && text.rc < 0)
        rc = DBK_ENOMEM;
    if (rc == DBK_OK)
        rc = dbk_connection_open("", DBK_CONNECT_MEMORY | DBK_CONNECT_HANDLERS, &connection,
                                 &failure);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, text.data, &failure);
    if (rc == DBK_OK)
        rc =
            dbk_poster_open(connection, check->definition, renames, count, &poster, NULL, &failure);
    dbk_poster_free(poster);
    dbk_connection_free(connection);
    dbk_buf_release(&text);
    dbk_arena_release(&arena);
    if (rc == DBK_ENOMEM || rc == DBK_OK)
        return rc;
    dbk_definition_plain(&failure);
    return schema_fault(check, 0, failure.message,
                        "a table has the name of something else that the SQL uses: rename it");
}

/* PostgreSQL cuts names after 63 bytes; a generation's number stands behind them. */
#define NAME_SIZE_MAX 50

static int check_names(struct check *check, const struct dbk_object *objects, size_t count)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        if (objects[i].name.size <= NAME_SIZE_MAX)
            continue;
        const char *what = dbk_arena_format(&check->arena, "the name `%.*s` is too long",
                                            DBK_SLICE_ARGS(objects[i].name));
        rc = what == NULL ? DBK_ENOMEM
                          : schema_fault(check, 0, what, "choose one of at most 50 bytes");
    }
    return rc;
}

static int check_parsed_schema(struct check *check)
{
    const struct dbk_model_definition *definition = check->definition;
    struct dbk_slice schema = definition->schema;
    size_t offset = 0;
    int rc = DBK_OK;
    while (rc == DBK_OK) {
        struct dbk_error failure = {0};
        int at = -1;
        struct dbk_slice sql = dbk_text_statement(dbk_target_dialect(definition->database_path),
                                                  schema, offset, &offset);
        if (sql.size == 0)
            break;
        int tried =
            dbk_target_check(definition->database_path, sql, DBK_GUARD_SCHEMA, &at, &failure);
        if (tried == DBK_ENOMEM)
            return tried;
        if (tried < 0)
            rc = schema_fault(check, (size_t)(sql.data - schema.data) + (size_t)(at < 0 ? 0 : at),
                              failure.message, "");
    }
    return rc;
}

/* One statement of a handler; offset_out: where in it the fault is. */
static int try_parsed(struct check *check, struct dbk_slice sql, bool purge, size_t *offset_out,
                      struct dbk_error *failure)
{
    struct dbk_buf text;
    struct dbk_slice *names = NULL;
    size_t count = 0;
    int at = -1;
    dbk_buf_init(&text, SQL_SIZE_MAX);
    *offset_out = 0;
    enum dbk_dialect dialect = dbk_target_dialect(check->definition->database_path);
    bool own = !dbk_dialect_is_sql(dialect); /* checked as it was written */
    int rc = dbk_text_rewrite(dialect, sql, NULL, 0, &text, &check->arena, &names, &count, failure);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        bool known = purge ? dbk_purge_knows(dialect, names[i])
                           : dbk_parameter_kind(names[i]) != DBK_PARAMETER_UNKNOWN;
        if (!known)
            rc = dbk_error_set(
                failure, DBK_EINVAL, "there is no :%.*s %s", DBK_SLICE_ARGS(names[i]),
                purge ? "here, but `:_subject` and `:_stream`" : "in an event's envelope");
    }
    if (rc == DBK_OK)
        rc = dbk_target_check(check->definition->database_path, own ? sql : dbk_buf_slice(&text),
                              purge ? dbk_purge_guard(dialect) : DBK_GUARD_HANDLER, &at, failure);
    if (at >= 0)
        *offset_out = own ? (size_t)at : dbk_poster_offset(sql, dbk_buf_slice(&text), (size_t)at);
    dbk_buf_release(&text);
    return rc;
}

static int check_parsed_handler(struct check *check, const struct dbk_handler *handler)
{
    size_t offset = 0;
    int rc = DBK_OK;
    while (rc == DBK_OK) {
        struct dbk_error failure = {0};
        size_t at = 0;
        struct dbk_slice sql = dbk_text_statement(
            dbk_target_dialect(check->definition->database_path), handler->sql, offset, &offset);
        if (sql.size == 0)
            break;
        int tried = try_parsed(check, sql, false, &at, &failure);
        if (tried == DBK_ENOMEM)
            return tried;
        if (tried < 0)
            rc = fault(check, handler->file, handler->sql,
                       (size_t)(sql.data - handler->sql.data) + at, handler->line,
                       &(struct dbk_diagnostic){
                           .what = failure.message,
                           .why = "the model would stop at the first event of this type"});
    }
    return rc;
}

/* Statements that forget, each for itself. */
static int check_parsed_purge(struct check *check)
{
    const struct dbk_model_definition *definition = check->definition;
    enum dbk_dialect dialect = dbk_target_dialect(definition->database_path);
    size_t count = 0;
    int rc = DBK_OK;
    if (definition->personal != DBK_PERSONAL_PURGE)
        return DBK_OK;
    for (size_t offset = 0; rc == DBK_OK; count++) {
        struct dbk_error failure = {0};
        size_t at = 0;
        struct dbk_slice sql = dbk_text_statement(dialect, definition->purge, offset, &offset);
        if (sql.size == 0)
            break;
        int tried = try_parsed(check, sql, true, &at, &failure);
        if (tried == DBK_ENOMEM)
            return tried;
        if (tried < 0)
            rc = fault(check, definition->purge_file, definition->purge,
                       (size_t)(sql.data - definition->purge.data) + at, 1,
                       &(struct dbk_diagnostic){.what = failure.message,
                                                .why = "a subject could not be forgotten"});
    }
    if (rc == DBK_OK && count == 0)
        rc = fault(check, definition->purge_file, definition->purge, 0, 1,
                   &(struct dbk_diagnostic){.what = "there is no statement",
                                            .why = "a subject could not be forgotten"});
    return rc;
}

static bool is_created(const struct dbk_model_definition *definition, struct dbk_slice collection)
{
    struct dbk_slice schema = definition->schema;
    return schema.size > 0 && collection.size > 0 &&
           memmem(schema.data, schema.size, collection.data, collection.size) != NULL;
}

/* The collection of each of a handler's commands, with its quotes, must be one of the schema's. */
static int check_collections(struct check *check, const struct dbk_handler *handler)
{
    const struct dbk_model_definition *definition = check->definition;
    for (size_t at = 0; at < handler->sql.size;) {
        const char *begin = memmem(handler->sql.data + at, handler->sql.size - at, "\"{gen}", 6);
        const char *end = begin == NULL
                              ? NULL
                              : memchr(begin + 1, '"',
                                       handler->sql.size - (size_t)(begin - handler->sql.data) - 1);
        if (end == NULL)
            break;
        struct dbk_slice name = dbk_slice(begin, (size_t)(end - begin) + 1);
        at = (size_t)(end - handler->sql.data) + 1;
        if (is_created(definition, name))
            continue;
        const char *what = dbk_arena_format(&check->arena, "%.*s is not created in the schema",
                                            DBK_SLICE_ARGS(name));
        return what == NULL ? DBK_ENOMEM
                            : fault(check, handler->file, handler->sql,
                                    (size_t)(begin - handler->sql.data), handler->line,
                                    &(struct dbk_diagnostic){
                                        .what = what,
                                        .why = "a transaction makes no collections",
                                        .fix = "write {\"create\": …} into schema.json"});
    }
    return DBK_OK;
}

static int check_parsed(struct check *check)
{
    const struct dbk_model_definition *definition = check->definition;
    struct dbk_object *objects = NULL;
    struct dbk_error failure = {0};
    size_t count = 0;
    int rc = check_parsed_schema(check);
    if (rc == DBK_OK && !check->faulty) {
        rc = dbk_definition_objects(definition, &check->arena, &objects, &count, &failure);
        if (rc < 0 && rc != DBK_ENOMEM)
            rc = schema_fault(check, 0, failure.message, "");
    }
    if (rc == DBK_OK && !check->faulty)
        rc = check_names(check, objects, count);
    bool documents = dbk_target_dialect(definition->database_path) == DBK_DIALECT_MONGODB;
    for (size_t i = 0; rc == DBK_OK && i < definition->handler_count; i++) {
        rc = check_parsed_handler(check, &definition->handlers[i]);
        if (rc == DBK_OK && documents)
            rc = check_collections(check, &definition->handlers[i]);
    }
    if (rc == DBK_OK)
        rc = check_parsed_purge(check);
    if (rc == DBK_OK)
        rc = check_personal(check);
    if (rc == DBK_OK)
        rc = check_states(check);
    return rc == DBK_OK ? check_twice(check) : rc;
}

static int check_all(struct check *check)
{
    struct dbk_object *objects = NULL;
    size_t count = 0;
    int rc = check_schema(check);
    if (rc == DBK_OK && !check->faulty)
        rc = dbk_definition_objects(check->definition, &check->arena, &objects, &count, NULL);
    if (rc == DBK_OK && !check->faulty)
        rc = check_columns(check, objects, count);
    if (rc == DBK_OK && !check->faulty)
        rc = check_handlers(check);
    if (rc == DBK_OK && !check->faulty)
        rc = check_purge(check);
    if (rc == DBK_OK)
        rc = check_personal(check);
    if (rc == DBK_OK)
        rc = check_states(check);
    if (rc == DBK_OK)
        rc = check_twice(check);
    if (rc == DBK_OK && !check->faulty)
        rc = check_renamed(check);
    return rc;
}

int dbk_model_check(const struct dbk_model_definition *definition,
                    struct dbk_diagnostics *diagnostics, struct dbk_error *err)
{
    struct check check = {.definition = definition, .diagnostics = diagnostics};
    dbk_arena_init(&check.arena, SQL_SIZE_MAX);
    int rc = DBK_OK;
    if (dbk_target_dialect(definition->database_path) != DBK_DIALECT_SQLITE) {
        rc = check_parsed(&check);
    } else {
        rc = dbk_connection_open("", DBK_CONNECT_MEMORY | DBK_CONNECT_HANDLERS, &check.connection,
                                 err);
        if (rc == DBK_OK)
            rc = check_all(&check);
    }
    dbk_connection_free(check.connection);
    dbk_arena_release(&check.arena);
    return rc == DBK_ENOMEM
               ? dbk_error_set(err, rc, "out of memory checking model %s", definition->name)
               : rc;
}
