/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advice -- what an operator can do about a login that PostgreSQL refuses.
 *
 * Threads: as the connection.
 * Source:  libpq's manual 15, "Connection Status Functions".
 */
#ifndef DBK_TARGET_POSTGRES_ADVICE_H
#define DBK_TARGET_POSTGRES_ADVICE_H

#include <libpq-fe.h>

/* To stand behind libpq's words when a connection fails; "": it is not the password. A literal. */
const char *dbk_pq_login_fix(const PGconn *server);

#endif
