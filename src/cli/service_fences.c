/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What commands of services may in a SQLite file that these share: each statement is prepared as a
 * command's is, and none is run.
 */
#include <stdio.h>
#include <strings.h>

#include "cli/service_files.h"
#include "command/fence.h"

struct fencing {
    const struct dbk_book *book;
    const struct dbk_service_definition *service;
    struct dbk_service_command command;
    struct dbk_connection *connection;
    struct dbk_attempts *attempts;
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* As a command's statements are when it is first done. */
static int prepare(const struct fencing *fencing, struct dbk_slice sql, struct dbk_error *failure)
{
    struct dbk_statement *statement = NULL;
    struct dbk_command_statement one = {.sql = sql, .line = 1};
    struct dbk_service_command command = fencing->command;
    int64_t version = 0;
    dbk_connection_guard(fencing->connection, DBK_GUARD_COMMAND);
    int rc = dbk_statement_open(fencing->connection, sql, &statement, NULL, failure);
    dbk_connection_guard(fencing->connection, DBK_GUARD_NONE);
    dbk_statement_free(statement);
    command.statements = &one;
    command.statement_count = 1;
    return rc < 0 ? rc : dbk_command_check_fences(&command, fencing->connection, &version, failure);
}

static int try(const struct fencing *fencing, const char *thing, const char *action,
               const char *sql, bool expected, struct dbk_error *err)
{
    struct dbk_arena *arena = fencing->attempts->arena;
    struct dbk_error failure = {0};
    int rc = prepare(fencing, dbk_slice_of(sql), &failure);
    if (rc == DBK_ENOMEM || rc == DBK_EBUSY || rc == DBK_EIO)
        return dbk_error_set(err, rc, "%s's try to %s %s: %s", fencing->service->own->name, action,
                             thing, failure.message);
    struct dbk_attempt attempt = {.service = fencing->service->own->name,
                                  .thing = dbk_arena_copy(arena, dbk_slice_of(thing)).data,
                                  .action = action,
                                  .sql = dbk_arena_copy(arena, dbk_slice_of(sql)).data,
                                  .expected = expected,
                                  .got = rc == DBK_OK};
    if (rc < 0 && expected)
        attempt.why = dbk_arena_copy(arena, dbk_slice_of(failure.message)).data;
    fencing->attempts->surprises += attempt.got != expected ? 1 : 0;
    return attempt.thing == NULL || attempt.sql == NULL
               ? no_memory(err)
               : dbk_attempts_add(fencing->attempts, &attempt, err);
}

/* ---- Tables ---- */

static bool owns(const struct dbk_service_definition *service, const char *table)
{
    const char *outbox = service->own->outbox.table;
    for (size_t i = 0; i < service->own->table_count; i++) {
        if (strcasecmp(service->own->tables[i].name, table) == 0)
            return true;
    }
    return outbox != NULL && strcasecmp(outbox, table) == 0;
}

static bool reads(const struct fencing *fencing, const char *table, const char *column)
{
    const struct dbk_service_definition *service = fencing->service;
    for (size_t i = 0; i < service->contract_count; i++) {
        const struct dbk_service_contract *contract = &service->contracts[i];
        for (size_t j = 0; strcasecmp(contract->table, table) == 0 && j < contract->column_count;
             j++) {
            if (strcasecmp(contract->columns[j], column) == 0)
                return true;
        }
    }
    return false;
}

static bool is_somebodys(const struct fencing *fencing, const char *table)
{
    const char *database = fencing->service->own->database;
    for (size_t i = 0; i < fencing->book->service_count; i++) {
        const struct dbk_service_definition *other = &fencing->book->service_definitions[i];
        if (other->own->database != NULL && strcmp(other->own->database, database) == 0 &&
            owns(other, table))
            return true;
    }
    return false;
}

static int try_column(const struct fencing *fencing, const char *table, const char *column,
                      struct dbk_error *err)
{
    char thing[512];
    char sql[1024];
    bool mine = owns(fencing->service, table);
    (void)snprintf(thing, sizeof(thing), "%s.%s", table, column);
    (void)snprintf(sql, sizeof(sql), "SELECT \"%s\" FROM \"%s\"", column, table);
    int rc = try(fencing, thing, "read", sql, mine || reads(fencing, table, column), err);
    (void)snprintf(sql, sizeof(sql), "INSERT INTO \"%s\" (\"%s\") SELECT NULL WHERE 0", table,
                   column);
    if (rc == DBK_OK)
        rc = try(fencing, thing, "insert", sql, mine, err);
    (void)snprintf(sql, sizeof(sql), "UPDATE \"%s\" SET \"%s\" = NULL WHERE 0", table, column);
    return rc < 0 ? rc : try(fencing, thing, "update", sql, mine, err);
}

static int try_table(const struct fencing *fencing, const char *table, struct dbk_error *err)
{
    static const struct {
        const char *action;
        const char *format; /* the table's name for each %s */
        bool own;           /* its owner's commands may */
    } ways[] = {{"delete", "DELETE FROM \"%s\" WHERE 0", true},
                {"drop", "DROP TABLE \"%s\"", false},
                {"alter", "ALTER TABLE \"%s\" ADD COLUMN _daybook_probe", false},
                {"index", "CREATE INDEX _daybook_probe ON \"%s\" (rowid)", false},
                {"trigger",
                 "CREATE TRIGGER _daybook_probe AFTER INSERT ON \"%s\" BEGIN SELECT 1; END",
                 false}};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(ways) / sizeof(ways[0]); i++) {
        char sql[1024];
        const char *mark = strstr(ways[i].format, "%s");
        (void)snprintf(sql, sizeof(sql), "%.*s%s%s", (int)(mark - ways[i].format), ways[i].format,
                       table, mark + 2);
        rc = try(fencing, table, ways[i].action, sql, ways[i].own && owns(fencing->service, table),
                 err);
    }
    return rc;
}

static int try_doors(const struct fencing *fencing, struct dbk_error *err)
{
    static const char *const doors[][2] = {
        {"make a table", "CREATE TABLE _daybook_probe (id)"},
        {"make a view", "CREATE VIEW _daybook_probe AS SELECT 1"},
        {"make a temporary table", "CREATE TEMP TABLE _daybook_probe (id)"},
        {"attach a file", "ATTACH ':memory:' AS _daybook_probe"},
        {"write a copy", "VACUUM INTO '/nowhere/_daybook_probe'"},
        {"change settings", "PRAGMA foreign_keys = off"},
        {"write the schema", "PRAGMA writable_schema = on"},
        {"end the transaction", "COMMIT"},
        {"load an extension", "SELECT load_extension('_daybook_probe')"},
    };
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(doors) / sizeof(doors[0]); i++)
        rc = try(fencing, "the database", doors[i][0], doors[i][1], false, err);
    return rc;
}

/* A name that could end its quotes is not tried. */
static bool is_plain(struct dbk_slice name)
{
    return memchr(name.data, '"', name.size) == NULL && name.size < 200;
}

static int try_tables(const struct fencing *fencing, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    char before[256] = "";
    int rc = dbk_statement_open(
        fencing->connection,
        DBK_SLICE_LITERAL("SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c "
                          "WHERE m.type = 'table' ORDER BY m.name, c.cid"),
        &statement, NULL, err);
    while (rc >= 0 && (rc = dbk_statement_step(statement, err)) == 1) {
        char table[256];
        char column[256];
        struct dbk_slice names[2] = {dbk_statement_column(statement, 0).bytes,
                                     dbk_statement_column(statement, 1).bytes};
        if (!is_plain(names[0]) || !is_plain(names[1]))
            continue;
        (void)snprintf(table, sizeof(table), "%.*s", DBK_SLICE_ARGS(names[0]));
        (void)snprintf(column, sizeof(column), "%.*s", DBK_SLICE_ARGS(names[1]));
        if (!is_somebodys(fencing, table))
            continue;
        rc = try_column(fencing, table, column, err);
        if (rc == DBK_OK && strcmp(before, table) != 0)
            rc = try_table(fencing, table, err);
        (void)snprintf(before, sizeof(before), "%s", table);
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : try_doors(fencing, err);
}

static int try_service(struct fencing *fencing, struct dbk_error *err)
{
    const struct dbk_capture_service *own = fencing->service->own;
    fencing->command = (struct dbk_service_command){
        .name = own->name, .file = own->file, .service = own, .address = own->address};
    int rc = dbk_book_fence(fencing->book, fencing->attempts->arena, &fencing->command, err);
    if (rc == DBK_OK)
        rc = dbk_connection_open(own->address, DBK_CONNECT_FOREIGN, &fencing->connection, err);
    if (rc == DBK_ENOTFOUND)
        rc = dbk_error_set(err, rc,
                           "the database %s, whose commands' rights are to be tried, is not there: "
                           "its services make it",
                           own->database);
    if (rc == DBK_OK)
        rc = try_tables(fencing, err);
    dbk_connection_free(fencing->connection);
    fencing->connection = NULL;
    return rc < 0 ? rc : DBK_OK;
}

int dbk_service_fences_verify(const struct dbk_arguments *arguments, const struct dbk_book *book,
                              struct dbk_attempts *attempts, struct dbk_error *err)
{
    struct fencing fencing = {.book = book, .attempts = attempts};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < book->service_count; i++) {
        fencing.service = &book->service_definitions[i];
        const struct dbk_capture_service *own = fencing.service->own;
        if (own->database != NULL && dbk_target_dialect(own->address) == DBK_DIALECT_SQLITE &&
            dbk_service_share(book->service_definitions, book->service_count, own->database) > 1 &&
            dbk_service_is_named(arguments, own->name))
            rc = try_service(&fencing, err);
    }
    return rc;
}
