/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_hand -- what a program would send to a server in a read model's stead.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_BENCH_HAND_H
#define DBK_CLI_BENCH_HAND_H

#include "cli/bench_posting.h"
#include "target/target.h"

struct dbk_bench_hand {
    const struct dbk_bench_posting *posting;
    const struct dbk_bench_database *database;
    struct dbk_connection *connection;
    struct dbk_statement *statement; /* of SQL */
    /* Commands that are ready to be sent, of the part that comes next. */
    struct dbk_statement **ready;
    size_t ready_count;
    struct dbk_buf texts;
};

/* Connects, and makes the table, collection or constraint. It is to be closed in any case. */
int dbk_bench_hand_open(struct dbk_bench_hand *hand, const struct dbk_bench_database *database,
                        const struct dbk_bench_posting *posting,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* Sends a part's events, so many a batch. */
int dbk_bench_hand_run(struct dbk_bench_hand *hand, const struct dbk_bench_fill *part,
                       uint64_t batch, double *seconds_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_bench_hand_close(struct dbk_bench_hand *hand);

#endif
