/* SPDX-License-Identifier: Apache-2.0 */
/*
 * merge -- neighbouring runs made one.
 *
 * Threads: one at a time; the runs are read-only.
 */
#ifndef DBK_INDEX_MERGE_H
#define DBK_INDEX_MERGE_H

#include "index/run.h"

#define DBK_MERGE_RUNS 8

/*
 * Writes the union of neighbouring runs (count up to DBK_MERGE_RUNS), oldest first. pause is called
 * every DBK_MERGE_PAUSE entries or places: it may do what is more urgent; negative ends the merge.
 */
#define DBK_MERGE_PAUSE 65536
typedef int (*dbk_run_pause_fn)(void *context, struct dbk_error *err);
int dbk_run_merge(const struct dbk_run *const *runs, size_t count, struct dbk_run_writer *writer,
                  dbk_run_pause_fn pause, void *context, struct dbk_error *err) DBK_MUST_CHECK;

#endif
