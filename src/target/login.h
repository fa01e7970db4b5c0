/* SPDX-License-Identifier: Apache-2.0 */
/*
 * login -- connection strings of a server's other users: read, and made of one that is known.
 *
 * PostgreSQL's module brings it by dbk_target_symbol. Nothing of a string stands in a message.
 * Texts go into memory of the caller's, because a module has a heap of its own.
 *
 * Threads: any thread; a connection from one at a time.
 * Source:  PostgreSQL's manual, libpq, "Connection Strings" and PQencryptPasswordConn.
 */
#ifndef DBK_TARGET_LOGIN_H
#define DBK_TARGET_LOGIN_H

#include "target/target.h"

#define DBK_LOGIN_SYMBOL "dbk_login_driver"
#define DBK_LOGIN_TEXT_SIZE 4096 /* of a string or a part of it, with its NUL */

struct dbk_login_driver {
    /* The user and the password that an address's string names; each "" where it names none. */
    int (*read)(const char *address, char user_out[DBK_LOGIN_TEXT_SIZE],
                char password_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err);
    /* The string of an address as it is for another user. */
    int (*make)(const char *address, const char *user, const char *password,
                char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err);
    /*
     * Whether a string makes as sure of the server as the other does: what that says of TLS and of
     * certificates it says, too. DBK_EBOOK: it does not; the message names the setting.
     */
    int (*agree)(const char *address, const char *login, struct dbk_error *err);
    /* The whole string, as a server takes it. DBK_EINVAL: it names no host, which is another's. */
    int (*whole)(const char *address, char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err);
    /* What stands for a password in ALTER ROLE, so that the server's log never has it. */
    int (*hide)(struct dbk_connection *connection, const char *user, const char *password,
                char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err);
};

/* What no two databases of PostgreSQL have in common, of whatever server. */
#define DBK_LOGIN_IDENTITY_SIZE 128
int dbk_login_identity(struct dbk_connection *connection, char text_out[DBK_LOGIN_IDENTITY_SIZE],
                       struct dbk_error *err) DBK_MUST_CHECK;

#endif
