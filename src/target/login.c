/* SPDX-License-Identifier: Apache-2.0 */
#include "target/login.h"

#include <stdio.h>

int dbk_login_identity(struct dbk_connection *connection, char text_out[DBK_LOGIN_IDENTITY_SIZE],
                       struct dbk_error *err)
{
    /* When the server was started, and the database in it. */
    static const char sql[] =
        "SELECT pg_catalog.concat(pg_catalog.pg_postmaster_start_time(), ' ', "
        "(SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) "
        "pg_catalog.current_database()))";
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection, dbk_slice_of(sql), &statement, NULL, err);
    if (rc == DBK_OK && (rc = dbk_statement_step(statement, err)) == 1) {
        struct dbk_value value = dbk_statement_column(statement, 0);
        (void)snprintf(text_out, DBK_LOGIN_IDENTITY_SIZE, "%.*s", DBK_SLICE_ARGS(value.bytes));
    }
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}
