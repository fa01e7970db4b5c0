/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement_mongodb -- services in a MongoDB database: a user and a role for each.
 *
 * A service's user, which has a mark in its customData, has the role of its name and no other; the
 * role may read, write and change the collections that the service owns (all of them, where it is
 * alone and names none), and nothing else. MongoDB grants whole documents: a contract on columns
 * cannot be kept, and is refused.
 *
 * The server has no transactions over users and roles. Each step has what takes it back: when one
 * fails, those before it are undone.
 *
 * DBK_EREFUSED  the server has no roles (it is compatible with MongoDB, and no more)
 * and all of placement.h
 *
 * Threads: one at a time.
 * Source:  MongoDB's manual 7.0, "Role-Based Access Control", "Privilege Actions".
 */
#ifndef DBK_SERVICE_PLACEMENT_MONGODB_H
#define DBK_SERVICE_PLACEMENT_MONGODB_H

#include "json/json.h"
#include "service/placement_logins.h"
#include "target/roles.h"

int dbk_mongodb_placement_look(const struct dbk_placement_scope *scope,
                               struct dbk_placement *placement,
                               struct dbk_error *err) DBK_MUST_CHECK;
int dbk_mongodb_placement_apply(const struct dbk_placement_scope *scope,
                                const struct dbk_placement *shown,
                                struct dbk_error *err) DBK_MUST_CHECK;
int dbk_mongodb_placement_verify(const struct dbk_placement_scope *scope,
                                 struct dbk_attempts *attempts,
                                 struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Between these files ---- */

/* A session, and what is known to ask. */
struct dbk_mongodb_roles {
    const struct dbk_placement_scope *scope;
    const struct dbk_roles_driver *driver;
    struct dbk_connection *connection;
    struct dbk_arena *arena;
};
/* The book's own user's. */
int dbk_mongodb_roles_open(const struct dbk_placement_scope *scope, struct dbk_arena *arena,
                           struct dbk_mongodb_roles *roles_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* Runs a command, and keeps the answer in the arena. database: NULL is the book's. */
int dbk_mongodb_roles_ask(const struct dbk_mongodb_roles *roles, struct dbk_connection *connection,
                          const char *database, const char *command,
                          const struct dbk_json_node **reply_out,
                          struct dbk_error *err) DBK_MUST_CHECK;
/* The list of that name in a command's answer. DBK_EREFUSED: the server has no roles. */
int dbk_mongodb_roles_list(const struct dbk_mongodb_roles *roles, const char *database,
                           const char *command, const char *list,
                           const struct dbk_json_node **list_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* The first of a list that may be missing. */
static inline const struct dbk_json_node *dbk_mongodb_first(const struct dbk_json_node *list)
{
    return list == NULL ? NULL : dbk_json_first(list);
}
/* True of a collection that the service owns. */
bool dbk_mongodb_owns(const struct dbk_placement_scope *scope,
                      const struct dbk_service_definition *service, const char *collection);
/* What its role may with a collection of its own; ends with NULL. */
#define DBK_MONGODB_ACTION_COUNT 12
extern const char *const dbk_mongodb_actions[DBK_MONGODB_ACTION_COUNT + 1];

#endif
