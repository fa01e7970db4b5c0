/* SPDX-License-Identifier: Apache-2.0 */
/*
 * as_of_file -- what an as-of file says of itself, and what it is called.
 *
 * Threads: a connection belongs to one thread at a time.
 */
#ifndef DBK_MODEL_AS_OF_FILE_H
#define DBK_MODEL_AS_OF_FILE_H

#include "model/as_of.h"
#include "model/definition.h"

#define DBK_AS_OF_MODEL_SIZE 256

/* The row of `_daybook_as_of`, and the position in `_daybook_models`. */
struct dbk_as_of_mark {
    char book[DBK_UUID_TEXT_SIZE];
    char model[DBK_AS_OF_MODEL_SIZE];
    char fingerprint[DBK_FINGERPRINT_SIZE];
    bool view; /* of a view, whose catalog is in the file; else of a model */
    struct dbk_as_of_time time;
    uint64_t target;
    uint64_t position; /* read only */
};

/* 1: read; 0: the database is empty. DBK_EEXISTS: it holds something else. */
int dbk_as_of_mark_read(struct dbk_connection *connection, struct dbk_as_of_mark *mark_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Makes the catalogs where they are missing, and the row; in one transaction. */
int dbk_as_of_mark_write(struct dbk_connection *connection, const struct dbk_as_of_mark *mark,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* The same inside of a transaction. */
int dbk_as_of_mark_put(struct dbk_connection *connection, const struct dbk_as_of_mark *mark,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* True when both are of one model of one book at one time, as it is defined: only how far they
   got may differ. */
bool dbk_as_of_mark_same(const struct dbk_as_of_mark *a, const struct dbk_as_of_mark *b);

/* The path of a mark's file in the folder. DBK_ELIMIT. */
int dbk_as_of_path(const char *folder, const struct dbk_as_of_mark *mark,
                   char path_out[DBK_AS_OF_PATH_SIZE], struct dbk_error *err) DBK_MUST_CHECK;
/* Takes the folder's lock, which ends with closing the file. DBK_EBUSY: a build has it. */
int dbk_as_of_lock(struct dbk_os *os, const char *folder, struct dbk_file *file_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Removes a database with what SQLite keeps beside it. Under the lock. */
int dbk_as_of_erase(struct dbk_os *os, const char *path, struct dbk_error *err) DBK_MUST_CHECK;

#endif
