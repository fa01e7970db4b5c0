/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files -- the runs of a folder: found, opened in a gapless chain, removed when they are no use.
 *
 * Threads: one at a time.
 */
#ifndef DBK_INDEX_FILES_H
#define DBK_INDEX_FILES_H

#include "index/run.h"

struct dbk_run_file {
    struct dbk_run run;
    char name[DBK_RUN_NAME_SIZE];
};

struct dbk_run_files {
    struct dbk_run_file **items; /* oldest first, no gaps */
    size_t count;
    size_t removed; /* files that were no use */
};

void dbk_run_name(uint64_t first, uint64_t last, char name_out[DBK_RUN_NAME_SIZE]);
/* folder/name as a path of its own; NULL when out of memory. */
char *dbk_run_path(const char *folder, const char *name) DBK_MUST_CHECK;

/*
 * Opens the chain of runs from position 1 as far as it goes, not past `last`. clean: removes every
 * other run and what was left unfinished.
 */
int dbk_run_files_open(struct dbk_os *os, const char *folder, const struct dbk_uuid *book,
                       uint64_t last, bool clean, struct dbk_run_files *files_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
void dbk_run_files_release(struct dbk_os *os, struct dbk_run_files *files);

/* DBK_ECORRUPT, DBK_EFORMAT, DBK_ENOTFOUND, DBK_EIO, DBK_ENOMEM. */
int dbk_run_file_open(struct dbk_os *os, const char *folder, const char *name,
                      const struct dbk_uuid *book, struct dbk_run_file **file_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
void dbk_run_file_free(struct dbk_os *os, struct dbk_run_file *file);

#endif
