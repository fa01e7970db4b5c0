/* SPDX-License-Identifier: Apache-2.0 */
#include "command/fence.h"

#include <stdio.h>
#include <strings.h>

#include "target/target.h"

struct watching {
    const struct dbk_service_command *command;
    char fault[DBK_ERROR_MESSAGE_SIZE]; /* the first; "": none */
};

static bool may_read(const struct dbk_command_fence *fence, const char *column)
{
    /* "" is the table alone: how many rows it has. */
    if (*column == '\0' || strcasecmp(column, "rowid") == 0)
        return fence->column_count > 0;
    for (size_t i = 0; i < fence->column_count; i++) {
        if (strcasecmp(fence->columns[i], column) == 0)
            return true;
    }
    return false;
}

static void take_use(void *context, const char *table, const char *column, enum dbk_watched what)
{
    struct watching *watching = context;
    const struct dbk_service_command *command = watching->command;
    for (size_t i = 0; watching->fault[0] == '\0' && i < command->fence_count; i++) {
        const struct dbk_command_fence *fence = &command->fences[i];
        if (strcasecmp(fence->table, table) != 0)
            continue;
        if (what != DBK_WATCHED_READ)
            (void)snprintf(watching->fault, sizeof(watching->fault),
                           "the table %s is %s's, and would be changed", table, fence->service);
        else if (!may_read(fence, column))
            (void)snprintf(watching->fault, sizeof(watching->fault),
                           "%s%s%s is %s's, and in no contract of %s", table,
                           *column == '\0' ? "" : ".", column, fence->service,
                           command->service->name);
    }
}

static int check_statement(struct watching *watching, struct dbk_connection *connection,
                           const struct dbk_command_statement *definition, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    struct dbk_error failure = {0};
    dbk_connection_watch(connection, take_use, watching);
    int rc = dbk_statement_open(connection, definition->sql, &statement, NULL, &failure);
    dbk_connection_watch(connection, NULL, NULL);
    dbk_statement_free(statement);
    if (rc < 0)
        return dbk_error_set(err, rc == DBK_EINVAL ? DBK_ESCRIPT : rc, "%s:%u: %s",
                             watching->command->file, definition->line, failure.message);
    return watching->fault[0] == '\0'
               ? DBK_OK
               : dbk_error_set(err, DBK_ESCRIPT, "%s:%u: %s", watching->command->file,
                               definition->line, watching->fault);
}

static int read_version(struct dbk_connection *connection, int64_t *version_out,
                        struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, DBK_SLICE_LITERAL("PRAGMA schema_version"), &statement,
                                NULL, err);
    if (rc == DBK_OK && (rc = dbk_statement_step(statement, err)) == 1)
        *version_out = dbk_statement_column(statement, 0).integer + 1;
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_command_check_fences(const struct dbk_service_command *command,
                             struct dbk_connection *connection, int64_t *version,
                             struct dbk_error *err)
{
    struct watching watching = {.command = command};
    int64_t now = 0;
    if (command->fence_count == 0 || dbk_connection_dialect(connection) != DBK_DIALECT_SQLITE)
        return DBK_OK;
    int rc = read_version(connection, &now, err);
    if (rc < 0 || now == *version)
        return rc;
    /* What keys look up is told as if the statement did it. */
    rc = dbk_connection_run(connection, "PRAGMA foreign_keys = off", err);
    /* The schema as it is now is read by what runs, and not by what is prepared. */
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "SELECT 1 FROM sqlite_schema LIMIT 1", err);
    for (size_t i = 0; rc == DBK_OK && i < command->statement_count; i++)
        rc = check_statement(&watching, connection, &command->statements[i], err);
    int again = dbk_connection_run(connection, "PRAGMA foreign_keys = on", rc < 0 ? NULL : err);
    if (rc < 0 || again < 0)
        return rc < 0 ? rc : again;
    *version = now;
    return DBK_OK;
}
