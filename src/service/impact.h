/* SPDX-License-Identifier: Apache-2.0 */
/*
 * impact -- who uses what a migration changes, and what becomes of it.
 *
 * Users are all that the book knows of a database: contracts, captured tables and what is made of
 * their changes, the outbox, commands, queries, views, read models and their handlers, and Lua that
 * gets captured rows or does one of the commands. What cannot be judged is unknown, and never safe.
 *
 * Threads: one at a time.
 * Source:  docs/services.md.
 */
#ifndef DBK_SERVICE_IMPACT_H
#define DBK_SERVICE_IMPACT_H

#include "command/command.h"
#include "model/model.h"
#include "service/migration.h"
#include "service/observed.h"
#include "service/service.h"
#include "view/view.h"

/* A text of SQL that the book, or a database, has. */
struct dbk_impact_text {
    const char *kind; /* "query", "observed" */
    const char *name;
    const char *file; /* NULL: of no file */
    unsigned line;
    const char *database; /* of book.yaml */
    struct dbk_slice sql;
    int64_t after_us; /* "observed": when it was last done (service/observed.h) */
    int64_t by_us;
};

/* A file of the book in Lua, or the schema of an event type. */
struct dbk_impact_script {
    const char *kind; /* "fold", "saga", "upcaster", "schema" */
    const char *name; /* a fold's category, a saga's name; else the event type */
    const char *file;
    struct dbk_slice source;
};

/* The book, and the database that a migration is for. */
struct dbk_impact_scope {
    const char *database;
    const char *address;
    const struct dbk_service_definition *services;
    size_t service_count;
    const struct dbk_model_definition *models;
    size_t model_count;
    const struct dbk_view_definition *views;
    size_t view_count;
    const struct dbk_service_command *commands;
    size_t command_count;
    const struct dbk_impact_text *texts; /* queries, and statements that a server has seen */
    size_t text_count;
    const struct dbk_observed *observed; /* when statements were last done; NULL: nobody looked */
    /* Names that tables of several schemas have: which one a server's statement means is not known,
       as its search_path was its role's. */
    const char *const *ambiguous;
    size_t ambiguous_count;
    const struct dbk_impact_script *scripts;
    size_t script_count;
    /* A session of the database, to have SQLite tell what a text reads and changes; NULL: its words
       alone tell. */
    struct dbk_connection *connection;
};

enum dbk_impact_verdict {
    DBK_IMPACT_SAFE,    /* it goes on */
    DBK_IMPACT_UNKNOWN, /* it may break */
    DBK_IMPACT_BREAKS,
};
const char *dbk_impact_verdict_text(enum dbk_impact_verdict verdict);

struct dbk_impact_row {
    const struct dbk_change *change;
    enum dbk_impact_verdict verdict;
    const char *kind; /* of the user: "service", "capture", "events", "handler", "model", "command",
                         "query", "view", "fold", "saga", "upcaster", "schema", "observed"; NULL:
                         the change has no user */
    const char *user;
    uint64_t version; /* of a contract, or of the events that a handler is for; 0: of none */
    const char *file; /* NULL: none */
    unsigned line;
    struct dbk_slice seen; /* the statement, of one that a server has seen */
    int64_t after_us;      /* a server last did it behind this (0: any time) … */
    int64_t by_us;         /* … and before this; 0: that is not known */
    const char *why;
    const char *first; /* what to do before; NULL: nothing */
};

struct dbk_impact {
    struct dbk_impact_row *rows; /* changes in the file's order, users of each by verdict */
    size_t count;
    size_t breaks; /* users that break, over all changes */
    size_t unknown;
};

/* All lies in the migration's arena. DBK_ENOMEM and, of the connection, others. */
int dbk_impact_judge(const struct dbk_impact_scope *scope, const struct dbk_migration *migration,
                     struct dbk_impact *impact_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
