/* SPDX-License-Identifier: Apache-2.0 */
/* commands/<Name>.sql, read: its statements, and what is expected of each. */
#include "base/fault.h"
#include "command/head.h"
#include "target/target.h"

#define SQL_SIZE_MAX ((size_t)8 << 20)
#define COUNTED "\nRETURNING 1"

/* Comments of a part of the file. */
static int take_comments(struct dbk_command_reading *reading, size_t begin, size_t end,
                         enum dbk_command_place place)
{
    int rc = DBK_OK;
    while (rc == DBK_OK && begin < end) {
        struct dbk_sql_token token = dbk_sql_next(reading->text, begin);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            break;
        if (token.kind == DBK_SQL_SPACE && token.text.size >= 2 && token.text.data[0] == '-')
            rc = dbk_command_take_comment(reading, begin, token.text, place);
        begin += token.text.size;
    }
    return rc;
}

/* ---- Statements ---- */

/* What a statement does: its verb, behind WITH where it begins so, and whether it returns rows. */
struct shape {
    bool reads;   /* SELECT, VALUES */
    bool changes; /* INSERT, REPLACE, UPDATE, DELETE */
    bool returning;
};

static struct shape shape_of(struct dbk_slice sql)
{
    static const char *const reads[] = {"select", "values"};
    static const char *const changes[] = {"insert", "replace", "update", "delete", "merge"};
    struct shape shape = {0};
    bool with = false;
    size_t depth = 0;
    for (size_t offset = 0, names = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return shape;
        offset += token.text.size;
        depth += dbk_slice_equal_text(token.text, "(");
        depth -= depth > 0 && dbk_slice_equal_text(token.text, ")");
        if (token.kind != DBK_SQL_NAME || depth > 0)
            continue;
        bool verb = !shape.reads && !shape.changes && (names == 0 || with);
        with = with || (names == 0 && dbk_sql_name_is(token.text, DBK_SLICE_LITERAL("with")));
        names++;
        for (size_t i = 0; verb && i < sizeof(reads) / sizeof(reads[0]); i++)
            shape.reads = shape.reads || dbk_sql_name_is(token.text, dbk_slice_of(reads[i]));
        for (size_t i = 0; verb && i < sizeof(changes) / sizeof(changes[0]); i++)
            shape.changes = shape.changes || dbk_sql_name_is(token.text, dbk_slice_of(changes[i]));
        shape.returning =
            shape.returning || dbk_sql_name_is(token.text, DBK_SLICE_LITERAL("returning"));
    }
}

/* Only `:name` can be given; each is used where it stands first. */
static int check_tokens(struct dbk_command_reading *reading, struct dbk_slice sql)
{
    size_t begin = dbk_command_offset_of(reading, sql);
    int rc = DBK_OK;
    for (size_t offset = 0; rc == DBK_OK;) {
        size_t index = 0;
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END)
            return DBK_OK;
        if (token.kind == DBK_SQL_BROKEN)
            return dbk_command_fault_at(reading, begin + offset, "close it",
                                        "a string, comment or quoted name does not end");
        if (token.kind == DBK_SQL_OTHER && strchr("?@$", token.text.data[0]) != NULL)
            rc = dbk_command_fault_at(reading, begin + offset, "write `:name`",
                                      "a command's parameter is a plain `:name`");
        if (token.kind == DBK_SQL_PARAMETER)
            rc = dbk_command_use_parameter(reading,
                                           dbk_slice(token.text.data + 1, token.text.size - 1),
                                           begin + offset, &index);
        offset += token.text.size;
    }
    return rc;
}

/* Where a byte of the statement with ?1 … ?n stands in the file's. */
static size_t original_offset(struct dbk_slice sql, const struct dbk_slice *names, size_t count,
                              size_t offset)
{
    size_t written = 0;
    size_t at = 0;
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, at);
        size_t size = token.text.size;
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return at;
        for (size_t i = 0; token.kind == DBK_SQL_PARAMETER && i < count; i++) {
            if (dbk_slice_equal(names[i], dbk_slice(token.text.data + 1, token.text.size - 1)))
                size = i + 1 < 10 ? 2 : i + 1 < 100 ? 3 : 4;
        }
        if (written + size > offset)
            return size == token.text.size ? at + offset - written : at;
        written += size;
        at += token.text.size;
    }
}

/* Whether the database would take it, as far as that can be told without its tables. */
static int prepares(struct dbk_command_reading *reading, struct dbk_slice sql, int *offset_out,
                    struct dbk_error *failure)
{
    static const char no_table[] = "no such table: ";
    struct dbk_statement *statement = NULL;
    const char *address = reading->command->service->address;
    if (dbk_target_dialect(address) != DBK_DIALECT_SQLITE)
        return dbk_target_check(address, sql, DBK_GUARD_COMMAND, offset_out, failure);
    int rc = reading->memory == NULL
                 ? dbk_connection_open("", DBK_CONNECT_MEMORY, &reading->memory, failure)
                 : DBK_OK;
    if (rc < 0)
        return rc;
    dbk_connection_guard(reading->memory, DBK_GUARD_COMMAND);
    rc = dbk_statement_open(reading->memory, sql, &statement, offset_out, failure);
    dbk_statement_free(statement);
    return rc == DBK_EINVAL && strncmp(failure->message, no_table, strlen(no_table)) == 0 ? DBK_OK
                                                                                          : rc;
}

/* The statement as the database gets it, which it is then asked about. */
static int prepare(struct dbk_command_reading *reading, struct dbk_slice sql,
                   struct dbk_command_statement *statement, const struct shape *shape,
                   struct dbk_error *err)
{
    struct dbk_slice *names = NULL;
    struct dbk_buf text;
    struct dbk_error failure = {0};
    size_t count = 0;
    int at = -1;
    dbk_buf_init(&text, SQL_SIZE_MAX);
    int rc = dbk_sql_rewrite(sql, NULL, 0, &text, reading->arena, &names, &count, err);
    if (rc == DBK_OK && statement->expect != DBK_ROWS_ANY && shape->changes && !shape->returning)
        dbk_buf_append_text(&text, COUNTED);
    statement->sql = dbk_arena_copy(reading->arena, dbk_buf_slice(&text));
    size_t *indexes = dbk_arena_alloc_zero(reading->arena, count + 1, sizeof(*indexes));
    if (rc == DBK_OK && (text.rc < 0 || statement->sql.data == NULL || indexes == NULL))
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", reading->file);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        indexes[i] = dbk_command_find_parameter(reading, names[i]);
    statement->parameters = indexes;
    statement->parameter_count = count;
    if (rc == DBK_OK && reading->command->service != NULL &&
        prepares(reading, statement->sql, &at, &failure) < 0) {
        size_t place = at < 0 ? 0 : original_offset(sql, names, count, (size_t)at);
        if (failure.code == DBK_ENOMEM ||
            dbk_command_fault_at(reading, dbk_command_offset_of(reading, sql) + place, NULL,
                                 failure.message) < 0)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", reading->file);
    }
    dbk_buf_release(&text);
    return rc;
}

/* Faults and failures are told apart by err: a fault leaves DBK_OK. */
static int take_statement(struct dbk_command_reading *reading, struct dbk_slice sql,
                          struct dbk_error *err)
{
    size_t errors = reading->faults->error_count;
    size_t offset = dbk_command_offset_of(reading, sql);
    struct shape shape = shape_of(sql);
    struct dbk_command_statement statement = dbk_command_begin_statement(reading, sql);
    statement.answers = shape.reads || shape.returning;
    const struct dbk_capture_service *service = reading->command->service;
    int rc = take_comments(reading, offset, offset + sql.size, DBK_COMMAND_INSIDE);
    if (rc == DBK_OK && service != NULL &&
        !dbk_dialect_is_sql(dbk_target_dialect(service->address)))
        rc = dbk_command_fault_at(reading, offset, "write it as commands/<Name>.json",
                                  "the service's database is no SQL database");
    else if (rc == DBK_OK && !shape.reads && !shape.changes)
        rc = dbk_command_fault_at(reading, offset, "write SELECT, INSERT, UPDATE or DELETE",
                                  "a command may not do more than read and change rows");
    if (rc == DBK_OK && reading->command->statement_count == DBK_COMMAND_STATEMENTS_MAX)
        rc =
            dbk_command_fault_at(reading, offset, NULL, "the command has more than 200 statements");
    if (rc == DBK_OK)
        rc = check_tokens(reading, sql);
    if (rc < 0)
        return dbk_error_set(err, rc, "out of memory reading %s", reading->file);
    if (reading->faults->error_count > errors)
        return DBK_OK;
    rc = prepare(reading, sql, &statement, &shape, err);
    if (rc == DBK_OK)
        reading->statements[reading->command->statement_count++] = statement;
    return rc;
}

static int parse(struct dbk_command_reading *reading, struct dbk_error *err)
{
    size_t offset = 0;
    size_t count = 0;
    int rc = DBK_OK;
    for (; rc == DBK_OK; count++) {
        size_t behind = 0;
        enum dbk_command_place place = count == 0 ? DBK_COMMAND_HEAD : DBK_COMMAND_BETWEEN;
        struct dbk_slice sql = dbk_sql_statement(reading->text, offset, &behind);
        size_t begin = sql.size == 0 ? reading->text.size : dbk_command_offset_of(reading, sql);
        if (take_comments(reading, offset, begin, place) < 0)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", reading->file);
        if (count == 0 && reading->command->service == NULL && reading->faults->error_count == 0 &&
            dbk_command_fault_at(reading, 0,
                                 "begin with `-- service: <name of services/<name>.yaml>`",
                                 "it is not said whose database the command is of") < 0)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", reading->file);
        if (sql.size == 0)
            break;
        rc = take_statement(reading, sql, err);
        offset = behind;
    }
    if (rc == DBK_OK && count == 0)
        rc = dbk_command_fault_at(reading, 0, "write one", "the command has no statement");
    if (rc == DBK_OK)
        rc = dbk_command_check_whole(reading);
    return rc;
}

int dbk_service_command_parse(const char *name, const char *file, struct dbk_slice text,
                              const struct dbk_capture_service *services, size_t service_count,
                              struct dbk_arena *arena, struct dbk_diagnostics *faults,
                              struct dbk_service_command *command_out, struct dbk_error *err)
{
    size_t size = strlen(file);
    bool documents = size > 5 && strcmp(file + size - 5, ".json") == 0;
    struct dbk_command_reading reading = {.file = file,
                                          .text = text,
                                          .mark = documents ? "//" : "--",
                                          .unit = documents ? "document" : "row",
                                          .arena = arena,
                                          .faults = faults,
                                          .named = {.file = file,
                                                    .text = text,
                                                    .services = services,
                                                    .service_count = service_count,
                                                    .arena = arena,
                                                    .faults = faults,
                                                    .command = command_out},
                                          .command = command_out};
    *command_out = (struct dbk_service_command){.name = name, .file = file};
    reading.parameters =
        dbk_arena_alloc_zero(arena, DBK_COMMAND_PARAMETERS_MAX, sizeof(*reading.parameters));
    reading.statements =
        dbk_arena_alloc_zero(arena, DBK_COMMAND_STATEMENTS_MAX, sizeof(*reading.statements));
    int rc = reading.parameters == NULL || reading.statements == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", file)
             : documents ? dbk_command_parse_documents(&reading, err)
                         : parse(&reading, err);
    command_out->parameters = reading.parameters;
    command_out->statements = reading.statements;
    dbk_connection_free(reading.memory);
    return rc;
}
