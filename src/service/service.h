/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service -- owners of data: what is whose, who may read it, and what may be appended by whom.
 *
 * `services/<name>.yaml` names a service's database, alone in it or beside others, the tables that
 * it owns there, and the tables of others that it reads, column by column (its contract):
 *
 *     database: shop
 *     tables:
 *       orders: {public: [id, total], version: 2}
 *     reads:
 *       users.people: {columns: [id, name], version: 1}
 *     events: {append: [order], read: [users.people]}
 *     models: [user_orders]
 *     login: file:secrets/orders
 *     key: file:secrets/orders.key
 *     user: orders
 *     scopes: [query:totals]
 *
 * An owner says what others may read (`public`), and counts the version up when that changes; a
 * contract names the version that it was written for.
 *
 * Threads: definitions are read-only.
 * Source:  docs/services.md.
 */
#ifndef DBK_SERVICE_SERVICE_H
#define DBK_SERVICE_SERVICE_H

#include "capture/capture.h"
#include "service/scope.h"

#define DBK_SERVICE_VERSION_MAX 1000000
#define DBK_SERVICE_ROLE_SIZE_MAX 63 /* with its NUL; PostgreSQL's own bound */

/* What the owner says of a table to others. */
struct dbk_service_table {
    const char *const *public; /* columns that others may read; none: nobody does */
    size_t public_count;
    uint64_t version; /* of `public`, from 1 */
};

/* A table of another service in the same database. */
struct dbk_service_contract {
    const char *service;
    const char *table;
    unsigned line; /* of services/<name>.yaml */
    unsigned column;
    const char *const *columns;
    size_t column_count;
    uint64_t version; /* that it was written for */
};

struct dbk_service_definition {
    const struct dbk_capture_service *own;  /* name, file, database, tables, outbox */
    const struct dbk_service_table *tables; /* own->table_count of them, as those */
    const struct dbk_service_contract *contracts;
    size_t contract_count;
    const char *const *appends; /* categories of streams */
    size_t append_count;
    const char *const *reads; /* categories; `service.table` is a captured table's */
    size_t read_count;
    const char *const *models; /* that are its own */
    size_t model_count;
    const char *role;  /* its name in the database */
    const char *login; /* address of its own connection string; NULL: none is named */
    const char *user;  /* of this machine, as whom its program runs; NULL: none is named */
    const char *group; /* that it shares with the daemon; NULL: none */
    const char *key;   /* the file with its API key; NULL: none is named */
    const struct dbk_scope *scopes; /* that its keys have beside what follows from the above */
    size_t scope_count;
};

/* How many of the services have the same database. */
size_t dbk_service_share(const struct dbk_service_definition *services, size_t count,
                         const char *database);

/* True when a name is among names. */
bool dbk_service_has(const char *const *names, size_t count, const char *name);

/*
 * Appends a JSON object of all that a service's file says. services: all of them, for who reads
 * its tables and who shares its database.
 */
void dbk_service_write(const struct dbk_service_definition *services, size_t count, size_t index,
                       struct dbk_buf *out);

#endif
