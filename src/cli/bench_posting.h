/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_posting -- read models in servers' databases, held against the same work by hand.
 *
 * The model and the hand take turns, a part of the events each, in the same database and over the
 * same kind of connection; the first part, in which a server warms up, is not counted. By hand are
 * the statements that a program would send: as many events in a transaction, a command or an UNWIND
 * as the model's batches had, without guards and without a position. What they send is written
 * before the clock starts.
 *
 * Threads: the main thread, and the model's own.
 */
#ifndef DBK_CLI_BENCH_POSTING_H
#define DBK_CLI_BENCH_POSTING_H

#include "cli/bench_server.h"

enum dbk_bench_task {
    DBK_BENCH_INSERTS, /* a row, document or node an event */
    DBK_BENCH_UPDATES, /* or it is counted in one of a tenth as many */
    DBK_BENCH_TASKS
};
const char *dbk_bench_task_text(enum dbk_bench_task task);

struct dbk_bench_posting {
    struct dbk_bench_servers *servers;
    enum dbk_bench_kind kind; /* not SQLITE */
    enum dbk_bench_task task;
    uint64_t events;
    uint64_t size;         /* of an event's data */
    uint64_t hand_updates; /* that a command to MongoDB has by hand */
    /* What was found out. */
    uint64_t counted; /* events */
    uint64_t batches;
    double seconds;
    double hand_seconds;
};
int dbk_bench_post(struct dbk_bench_posting *posting, struct dbk_error *err) DBK_MUST_CHECK;

#endif
