/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement_files -- services as users of this machine: whose their files are, and who can open
 * what.
 *
 * A SQLite file knows no users, and whoever can open it can do anything with it; the system knows
 * them. What there should be follows from services' files:
 *
 *     a SQLite file that is one service's, which names a `user`
 *                       it, what SQLite puts beside it, and the folder that holds nothing else are
 *                       that user's alone, or where `user: orders:shop` names a group, its, too
 *     a SQLite file that several services share
 *                       the daemon's alone: what commands may in it SQLite's authorizer says
 *     the files of a service's `key` and `login`
 *                       its user's
 *
 * The daemon is whoever owns the data directory. Owners are changed one file behind the other; when
 * one fails, those before it are given back.
 *
 * Functions answer DBK_OK, or a negative code with err filled:
 *
 * DBK_EBOOK    a user is not there, is root, or is two services'; a folder holds other things
 * DBK_EDENIED  only root can do it; nothing was changed
 * DBK_EBUSY    it is not any more what was shown
 *
 * Threads: the only one of a process.
 */
#ifndef DBK_SERVICE_PLACEMENT_FILES_H
#define DBK_SERVICE_PLACEMENT_FILES_H

#include "service/placement.h"

/* What is the book's, or somebody's database: no service opens it but that one. */
struct dbk_files_other {
    const char *what; /* "the log" */
    const char *path;
    const char *database; /* of book.yaml, whose services may; NULL: nobody */
    bool folder;
};

struct dbk_files_scope {
    const struct dbk_service_definition *services;
    size_t count;
    bool (*is_wanted)(void *context, const char *service); /* NULL: each */
    void *context;
    const char *data; /* the data directory */
    const struct dbk_files_other *others;
    size_t other_count;
};

/* True when a service that is wanted names a user, or shares a SQLite file. */
bool dbk_files_is_wanted(const struct dbk_files_scope *scope);
int dbk_files_look(const struct dbk_files_scope *scope, struct dbk_placement *placement,
                   struct dbk_error *err) DBK_MUST_CHECK;
int dbk_files_apply(const struct dbk_files_scope *scope, const struct dbk_placement *shown,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Opens as each service's user what is its, and what is not. */
int dbk_files_verify(const struct dbk_files_scope *scope, struct dbk_attempts *attempts,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- Between these files ---- */

bool dbk_files_is_sqlite(const struct dbk_service_definition *service);
bool dbk_files_is_shared(const struct dbk_files_scope *scope,
                         const struct dbk_service_definition *service);
/* The file of a login; NULL: there is none. */
const char *dbk_files_login(const struct dbk_service_definition *service);
/* What SQLite puts beside a file. */
#define DBK_FILES_BESIDE_COUNT 3
extern const char *const dbk_files_beside[DBK_FILES_BESIDE_COUNT];

#endif
