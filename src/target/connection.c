/* SPDX-License-Identifier: Apache-2.0 */
/* The interface of target/target.h: each call goes to the driver. */
#include "target/driver.h"

int dbk_connection_open(const char *address, unsigned flags, struct dbk_connection **connection_out,
                        struct dbk_error *err)
{
    const struct dbk_driver *driver = NULL;
    const char *rest = NULL;
    int rc = dbk_driver_of(address, &driver, &rest, err);
    return rc < 0 ? rc : driver->open(rest, flags, connection_out, err);
}

enum dbk_dialect dbk_target_dialect(const char *address)
{
    if (strncmp(address, "neo4j:", 6) == 0)
        return DBK_DIALECT_CYPHER;
    if (strncmp(address, "mongodb:", 8) == 0)
        return DBK_DIALECT_MONGODB;
    return strncmp(address, "postgres:", 9) == 0 ? DBK_DIALECT_POSTGRES : DBK_DIALECT_SQLITE;
}

int dbk_target_check(const char *address, struct dbk_slice sql, enum dbk_guard guard,
                     int *offset_out, struct dbk_error *err)
{
    const struct dbk_driver *driver = NULL;
    const char *rest = NULL;
    int rc = dbk_driver_of(address, &driver, &rest, err);
    *offset_out = -1;
    return rc < 0 ? rc : driver->check(sql, guard, offset_out, err);
}

int dbk_target_objects(const char *address, struct dbk_slice schema, dbk_object_fn each,
                       void *context, struct dbk_error *err)
{
    const struct dbk_driver *driver = NULL;
    const char *rest = NULL;
    int rc = dbk_driver_of(address, &driver, &rest, err);
    return rc < 0 ? rc : driver->objects(schema, each, context, err);
}

enum dbk_dialect dbk_connection_dialect(const struct dbk_connection *connection)
{
    return connection->driver->dialect;
}

void dbk_connection_free(struct dbk_connection *connection)
{
    if (connection != NULL)
        connection->driver->close(connection);
}

int dbk_connection_run(struct dbk_connection *connection, const char *sql, struct dbk_error *err)
{
    return connection->driver->run(connection, sql, err);
}

int dbk_connection_begin(struct dbk_connection *connection, enum dbk_begin how,
                         struct dbk_error *err)
{
    return connection->driver->begin(connection, how, err);
}

int dbk_connection_settle(struct dbk_connection *connection, bool constraints,
                          struct dbk_error *err)
{
    return connection->driver->settle(connection, constraints, err);
}

void dbk_connection_guard(struct dbk_connection *connection, enum dbk_guard guard)
{
    connection->driver->guard(connection, guard);
}

int dbk_connection_mode(struct dbk_connection *connection, const char **mode_out,
                        struct dbk_error *err)
{
    if (connection->driver->mode != NULL)
        return connection->driver->mode(connection, mode_out, err);
    *mode_out = "transaction";
    return DBK_OK;
}

int dbk_connection_checkpoint(struct dbk_connection *connection, struct dbk_error *err)
{
    return connection->driver->checkpoint(connection, err);
}

void dbk_connection_limit_us(struct dbk_connection *connection, int64_t limit_us)
{
    connection->driver->limit_us(connection, limit_us);
}

void dbk_connection_interrupt(struct dbk_connection *connection)
{
    connection->driver->interrupt(connection);
}

bool dbk_connection_deferred_violation(struct dbk_connection *connection)
{
    return connection->driver->deferred_violation(connection);
}

bool dbk_connection_is_full(const struct dbk_connection *connection)
{
    return connection->driver->is_full != NULL && connection->driver->is_full(connection);
}

uint64_t dbk_connection_suspects(const struct dbk_connection *connection, uint64_t *first_out)
{
    *first_out = 0;
    return connection->driver->suspects == NULL
               ? 0
               : connection->driver->suspects(connection, first_out);
}

bool dbk_connection_in_transaction(struct dbk_connection *connection)
{
    return connection->driver->in_transaction(connection);
}

int dbk_catalog_open(struct dbk_connection *connection, enum dbk_catalog which,
                     struct dbk_statement **statement_out, struct dbk_error *err)
{
    const char *text = connection->driver->catalog[which];
    return connection->driver->statement_open(connection, dbk_slice_of(text), statement_out, NULL,
                                              err);
}

int dbk_connection_drop(struct dbk_connection *connection, struct dbk_slice prefix,
                        struct dbk_error *err)
{
    return connection->driver->drop(connection, prefix, err);
}

int dbk_statement_open(struct dbk_connection *connection, struct dbk_slice sql,
                       struct dbk_statement **statement_out, int *offset_out, struct dbk_error *err)
{
    return connection->driver->statement_open(connection, sql, statement_out, offset_out, err);
}

void dbk_statement_free(struct dbk_statement *statement)
{
    if (statement != NULL)
        statement->driver->statement_free(statement);
}

void dbk_statement_bind(struct dbk_statement *statement, int index, const struct dbk_value *value)
{
    statement->driver->bind(statement, index, value);
}

int dbk_statement_step(struct dbk_statement *statement, struct dbk_error *err)
{
    return statement->driver->step(statement, err);
}

void dbk_statement_reset(struct dbk_statement *statement)
{
    statement->driver->reset(statement);
}

bool dbk_statement_is_read_only(const struct dbk_statement *statement)
{
    return statement->driver->is_read_only(statement);
}

int dbk_statement_column_count(const struct dbk_statement *statement)
{
    return statement->driver->column_count(statement);
}

const char *dbk_statement_column_name(const struct dbk_statement *statement, int column)
{
    return statement->driver->column_name(statement, column);
}

struct dbk_value dbk_statement_column(struct dbk_statement *statement, int column)
{
    return statement->driver->column(statement, column);
}

int dbk_statement_change(struct dbk_statement *statement, const struct dbk_document_wish *wish,
                         enum dbk_document_outcome *outcome_out, struct dbk_error *err)
{
    return statement->driver->change(statement, wish, outcome_out, err);
}
