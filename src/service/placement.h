/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement -- services in a PostgreSQL database: what each may do there, made and compared.
 *
 * From services' files follows what there should be: a role for each that can only log in, a
 * schema of its own, ownership of its tables, SELECT on the columns of its contracts, and nothing
 * else for it or for everybody, now and for what is made later. The database itself finds where it
 * differs (placement_sql.h), every grant of every kind of object among it, so that a comparison and
 * what mends it are one reading:
 *
 *     look   -> the differences, each with the statement that mends it
 *     apply  -> looks again, runs all of them and looks again, in one transaction: none are left,
 *               or nothing was changed
 *
 * A role is the book's, in this database, when its comment says so: others' are never touched, nor
 * are their schemas, nor the tables of the book's own models and views.
 *
 * A service or anybody else may have put functions and operators where the book's user looks for
 * the server's: no name is looked for anywhere but in pg_catalog.
 *
 * Functions answer DBK_OK, or a negative code with err filled:
 *
 * DBK_EBOOK     the files name what is not there, or a role is somebody else's
 * DBK_EDENIED   the database's user may not do it; the message has the statement
 * DBK_ECONNECT  the database cannot be reached
 * DBK_EREFUSED  after all statements something differs still
 *
 * Threads: one at a time.
 * Source:  PostgreSQL's manual, "Privileges", aclexplode and acldefault, pg_init_privs.
 */
#ifndef DBK_SERVICE_PLACEMENT_H
#define DBK_SERVICE_PLACEMENT_H

#include "model/model.h"
#include "os/os.h"
#include "service/service.h"
#include "target/target.h"
#include "view/view.h"

struct dbk_placement_scope {
    const char *book; /* its name */
    const struct dbk_service_definition *services;
    size_t count;
    const char *database; /* of book.yaml */
    const char *address;
    /* The book's, of every database: their tables are no service's. */
    const struct dbk_model_definition *models;
    size_t model_count;
    const struct dbk_view_definition *views;
    size_t view_count;
    struct dbk_os *os;
    unsigned lock_wait_ms; /* of an apply, for others; 0: as long as it takes */
};

struct dbk_difference {
    const char *service; /* "": everybody's */
    const char *what;    /* how it is */
    const char *sql;     /* what mends it; a password stands in it as `***` */
    const char *place;   /* another database to do it in; NULL: none */
    const char *undo;    /* what takes it back, where there are no transactions; NULL: nothing */
    unsigned step;       /* their order */
};

struct dbk_placement {
    struct dbk_arena *arena;
    struct dbk_difference *items;
    size_t count;
    size_t capacity;
};

int dbk_placement_look(const struct dbk_placement_scope *scope, struct dbk_placement *placement,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* shown: what was looked at before, and must still be all. DBK_EBUSY: it is not any more. */
int dbk_placement_apply(const struct dbk_placement_scope *scope, const struct dbk_placement *shown,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* What a service tried. */
struct dbk_attempt {
    const char *service;
    const char *thing;  /* "public.people.name" */
    const char *action; /* "read" */
    const char *sql;
    const char *why; /* a failure that is no refusal; NULL: none */
    bool expected;
    bool got;
    bool asked;    /* of the server, where a try could leave something behind */
    bool untested; /* nothing was got; why says what for */
};

struct dbk_attempts {
    struct dbk_arena *arena;
    struct dbk_attempt *items;
    size_t count;
    size_t capacity;
    size_t surprises; /* where got is not what was expected */
    size_t untested;
};

/*
 * Logs in as each service and tries: what it should be able to do, and everything else with what
 * there is in the database, also what is made for that after all grants and removed again. Each
 * failure of a service to log in is a surprise, too.
 */
int dbk_placement_verify(const struct dbk_placement_scope *scope, struct dbk_attempts *attempts,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* For who has other ways: adds a copy. */
int dbk_attempts_add(struct dbk_attempts *attempts, const struct dbk_attempt *attempt,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Adds a copy behind those of its step. */
int dbk_placement_add(struct dbk_placement *placement, const struct dbk_difference *difference,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* True when they are the same steps. */
bool dbk_placement_is_same(const struct dbk_placement *one, const struct dbk_placement *other);
/*
 * Writes a secret into a file that only its owner can read, making the folder. replace: one that is
 * there is replaced as a whole; else DBK_EEXISTS.
 */
int dbk_placement_write_secret(struct dbk_os *os, const char *path, struct dbk_slice text,
                               bool replace, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Between this room's files ---- */

/* True of a service of the scope's database. */
bool dbk_placement_is_here(const struct dbk_placement_scope *scope,
                           const struct dbk_service_definition *service);

/* Where settings have no privileges, none of their objects are asked for. */
struct dbk_placement_texts {
    const char *const *texts[6]; /* base, objects, settings, rights, and what is asked; NULL */
};
int dbk_placement_texts(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                        const char *const *asked, struct dbk_placement_texts *texts_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* DBK_EBOOK: the files name what is not there, or what is somebody else's. */
int dbk_placement_faults(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Names mean the server's from then on; where the user would have looked is kept for the texts. */
int dbk_placement_begin(const struct dbk_placement_scope *scope, enum dbk_begin how,
                        struct dbk_connection **connection_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* The server's own names and no other; what the session began with. */
#define DBK_PLACEMENT_PIN "SET search_path = pg_catalog, pg_temp"
#define DBK_PLACEMENT_UNPIN "SET LOCAL search_path TO DEFAULT"

/*
 * Runs a text (placement_sql.h) with that as its parameter, in the open transaction; each gets
 * every row's columns, NULL where they are.
 */
typedef int (*dbk_placement_row_fn)(void *context, const struct dbk_slice *columns, size_t count,
                                    struct dbk_error *err);
int dbk_placement_ask(const struct dbk_placement_scope *scope, struct dbk_connection *connection,
                      const char *const *const *texts, dbk_placement_row_fn each, void *context,
                      struct dbk_error *err) DBK_MUST_CHECK;

#endif
