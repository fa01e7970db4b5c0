/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_sink -- a thread that appends batches while the next ones are made.
 *
 *     mapping thread                      appending thread
 *     dbk_sink_take  <--- empty batches --- appended
 *     (fill, seal)
 *     dbk_sink_put   ---- full batches ---> dbk_engine_append, or POST /events
 *
 * DBK_SINK_BATCHES batches go round, so memory stays bounded and neither waits for the other until
 * it must. Events that are stored already are left out (skip-known), which is what makes a second
 * run of an import harmless. The first append that fails ends it: later batches are not appended.
 *
 * Threads: one thread takes, puts and finishes; the counts may be read after dbk_sink_finish.
 */
#ifndef DBK_CLI_IMPORT_SINK_H
#define DBK_CLI_IMPORT_SINK_H

#include "cli/import_batch.h"
#include "cli/link.h"

#define DBK_SINK_BATCHES 3

struct dbk_sink;

struct dbk_sink_counts {
    uint64_t added;                      /* events stored by this run */
    uint64_t known;                      /* events that were stored before */
    uint64_t position;                   /* the last one met; 0: none */
    uint64_t misfits;                    /* events stored although they do not fit their schema */
    char misfit[DBK_ERROR_MESSAGE_SIZE]; /* the first of them */
};

/* link is kept until free, and is the sink's alone until dbk_sink_finish. */
int dbk_sink_open(struct dbk_link *link, struct dbk_sink **sink_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Stops after the batch under way. NULL is fine. */
void dbk_sink_free(struct dbk_sink *sink);

/* An empty batch to fill, which dbk_sink_put takes back; waits for one. Fails with what an append
   failed with. */
int dbk_sink_take(struct dbk_sink *sink, struct dbk_import_batch **batch_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
void dbk_sink_put(struct dbk_sink *sink, struct dbk_import_batch *batch);
/* Waits until all batches put are appended, and ends the thread; the counts are right also after a
   failure. */
int dbk_sink_finish(struct dbk_sink *sink, struct dbk_sink_counts *counts_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif
