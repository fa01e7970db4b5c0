/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement_logins -- how services log in: whether their connection strings let them in, and what
 * is made where there are none.
 *
 * Passwords are wiped when they are freed. Functions fail as those of placement.h.
 *
 * Threads: one at a time.
 */
#ifndef DBK_SERVICE_PLACEMENT_LOGINS_H
#define DBK_SERVICE_PLACEMENT_LOGINS_H

#include "service/placement.h"
#include "target/login.h"

/* Of differences: a file is made, a role gets its password. */
#define DBK_STEP_SECRET 5
#define DBK_STEP_PASSWORD 13

struct dbk_login {
    const struct dbk_service_definition *service; /* NULL: behind the last */
    bool made;                                    /* there is no file yet */
    bool written;                                 /* it is there now, and ours */
    char password[DBK_LOGIN_TEXT_SIZE];           /* "": none is known */
};

/* Room for one of each service. NULL when out of memory. */
struct dbk_login *dbk_logins_create(const struct dbk_placement_scope *scope) DBK_MUST_CHECK;
/* Reads what a service logs in with, or makes a password where there is no file. */
int dbk_login_read(const struct dbk_placement_scope *scope, struct dbk_login *login,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Adds that the file of one that was made is written. */
int dbk_login_add_secret(struct dbk_placement *placement, const struct dbk_login *login,
                         unsigned step, struct dbk_error *err) DBK_MUST_CHECK;
/* Adds what is to be done so that each service can log in. */
int dbk_logins_look(const struct dbk_placement_scope *scope, struct dbk_placement *placement,
                    struct dbk_login *logins, struct dbk_error *err) DBK_MUST_CHECK;
/* Files come before the commit: one that is left without its role is used by the next run. */
int dbk_logins_write(const struct dbk_placement_scope *scope, struct dbk_login *logins,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Removes those that were written: a file that another run has made meanwhile stays. */
void dbk_logins_remove(const struct dbk_placement_scope *scope, const struct dbk_login *logins);
/* DBK_EBOOK: the session that a service's login has made is not in the scope's database. */
int dbk_login_check_place(const struct dbk_placement_scope *scope, const char *identity,
                          struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_logins_free(struct dbk_login *logins, size_t count);

/* What the database's module knows of logins. */
int dbk_login_driver_of(const struct dbk_placement_scope *scope,
                        const struct dbk_login_driver **driver_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

#endif
