/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ways -- the event type that `bench schema` measures, in three versions, and what reads it.
 *
 * Threads: one at a time, except that events are upcast in as many as read.
 */
#ifndef DBK_CLI_BENCH_WAYS_H
#define DBK_CLI_BENCH_WAYS_H

#include "cli/bench.h"
#include "fold/fold.h"
#include "schema/upcaster.h"

#define DBK_BENCH_VERSIONS 3

/* Its schema, upcast by steps, by Lua, by C. */
extern const char dbk_bench_by_steps[];
extern const char dbk_bench_by_script[];
extern const char dbk_bench_by_program[];
/* A type of two versions for each of the steps that there are, and first one of one version, which
   needs none. */
#define DBK_BENCH_CASES 5
extern const struct dbk_bench_case {
    const char *name;
    const char *schema;
} dbk_bench_cases[DBK_BENCH_CASES];
/* A type of so many versions, each of which adds a member; terminated. */
void dbk_bench_put_chain(struct dbk_buf *out, unsigned versions);
/* An event's data as version `version` has it, of about `size` bytes. */
void dbk_bench_put_data(struct dbk_buf *out, uint64_t number, uint16_t version, size_t size);

/* Folds of the newest version, in Lua and in C; and one with a function for each version. */
extern const char dbk_bench_fold[];
extern const char dbk_bench_versioned_fold[];
extern const struct dbk_fold_functions dbk_bench_fold_in_c;

/* A way of reading: `lens` upcasts for a store's readers. */
struct dbk_bench_way {
    struct dbk_diagnostics faults;
    struct dbk_schemas *schemas;
    struct dbk_upcasts *upcasts;
    struct dbk_lens lens;
};

int dbk_bench_open_way(struct dbk_bench_way *way, const char *schema, bool scripts, bool program,
                       struct dbk_error *err) DBK_MUST_CHECK;
void dbk_bench_close_way(struct dbk_bench_way *way);

#endif
