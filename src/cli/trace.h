/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace -- what the two pictures of a trace share: the tree of a table, and Graphviz's.
 *
 * Threads: pure functions.
 */
#ifndef DBK_CLI_TRACE_H
#define DBK_CLI_TRACE_H

#include "cli/arguments.h"
#include "json/json.h"

/* A row of the answer; texts are borrowed from it, and empty where it has none. */
struct dbk_trace_line {
    uint64_t row;
    uint64_t parent; /* 0: none */
    uint64_t depth;
    uint64_t circle; /* 0: none */
    uint64_t position;
    uint64_t version;
    int64_t offset_us;
    bool later;
    bool outside; /* an event of another correlation */
    bool unknown; /* no event */
    struct dbk_slice stream;
    struct dbk_slice type;
    struct dbk_slice actor;
    struct dbk_slice cause;
    struct dbk_slice correlation;
};

/* "+0 ms", "+1.25 s", "-3 min 5 s": how long after the first event. */
void dbk_trace_write_offset(struct dbk_buf *out, int64_t offset_us);
/* `--timeline`: when one event was what. Returns the exit status. */
int dbk_trace_timeline(const struct dbk_arguments *arguments);
/* A graph in the language of Graphviz: streams as boxes, categories as colours, causes as arrows.
   DBK_ENOMEM. */
int dbk_trace_write_dot(struct dbk_buf *out, struct dbk_slice correlation,
                        const struct dbk_trace_line *lines, size_t count,
                        struct dbk_error *err) DBK_MUST_CHECK;

#endif
