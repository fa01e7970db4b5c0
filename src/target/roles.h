/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roles -- commands about users and roles, of servers that take them as JSON.
 *
 * MongoDB's module brings it by dbk_target_symbol. Texts of answers are the session's, because a
 * module has a heap of its own.
 *
 * Threads: one at a time a connection.
 * Source:  MongoDB's manual 7.0, "User Management Commands" and "Role Management Commands".
 */
#ifndef DBK_TARGET_ROLES_H
#define DBK_TARGET_ROLES_H

#include "target/target.h"

#define DBK_ROLES_SYMBOL "dbk_roles_driver"

struct dbk_roles_driver {
    /*
     * Runs a command, in extended JSON. database: NULL is the connection string's. reply_out: JSON,
     * valid until the next command.
     *
     * DBK_EDENIED    the user may not do it
     * DBK_ENOTFOUND  the server knows no such command
     * DBK_ECONNECT   the connection broke, or lets nobody in
     * DBK_EINVAL     the server takes it for none, and has not refused the user
     */
    int (*ask)(struct dbk_connection *connection, const char *database, struct dbk_slice command,
               struct dbk_slice *reply_out, struct dbk_error *err);
    /* That the connection string names; valid as long as the connection. */
    const char *(*database)(struct dbk_connection *connection);
};

#endif
