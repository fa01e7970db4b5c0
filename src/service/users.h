/* SPDX-License-Identifier: Apache-2.0 */
/*
 * users -- all that the book knows to use the tables of a database, each with what it uses.
 *
 * Threads: one at a time.
 */
#ifndef DBK_SERVICE_USERS_H
#define DBK_SERVICE_USERS_H

#include "service/impact.h"

enum dbk_user_way {
    DBK_USER_SQL,     /* a text of SQL, or a contract to read */
    DBK_USER_CAPTURE, /* a table is captured */
    DBK_USER_IMAGE,   /* a handler or a script takes columns of captured rows */
    DBK_USER_EVENTS,  /* captured rows are read, and which columns is not said */
    DBK_USER_MODEL,   /* a read model's own tables */
};

struct dbk_user {
    enum dbk_user_way way;
    const char *kind;
    const char *name;
    const char *via; /* what it uses by another: "the command PlaceOrder"; NULL: by itself */
    const char *file;
    unsigned line;
    uint64_t version;      /* as a row's */
    const char *role;      /* of its service; NULL: it is done as the book's user, or not known */
    struct dbk_slice seen; /* the statement, of one that a server has seen */
    uint64_t fingerprint;  /* of its text (dbk_observed_fingerprint); 0: it has none */
    int64_t after_us;      /* as a row's */
    int64_t by_us;
    struct dbk_uses uses;
};

struct dbk_users {
    struct dbk_arena *arena;
    struct dbk_json *json;
    struct dbk_user *items;
    size_t count;
    size_t capacity;
};

/* Gives texts of the book the times of the same statements of the server, whoever did them, and
   contracts those of their service's role. DBK_ENOMEM. */
int dbk_users_date(const struct dbk_impact_scope *scope, struct dbk_users *users) DBK_MUST_CHECK;

/* users: arena and json are the caller's. */
int dbk_users_collect(const struct dbk_impact_scope *scope, struct dbk_users *users,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
