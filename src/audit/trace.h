/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace -- the events of one correlation as a tree of causes and effects.
 *
 * An event is correlated by its meta's `correlationid`, or, without one, by its own id: the first
 * of a chain may be what names it. Its cause is its meta's `causationid`, the id of an event or of
 * anything else. Rows come in the order in which the tree is read: each behind its cause, the
 * effects of one cause by their positions.
 *
 *     row  1  OrderPlaced        depth 0
 *     row  2    PaymentTaken     depth 1, parent 1
 *     row  3      OrderPaid      depth 2, parent 2
 *     row  4    StockReserved    depth 1, parent 1
 *
 * A cause that is not among the events gets a row before them: as an event of another correlation,
 * or as something unknown. Causes that go in a circle are cut at its first event, whose row says
 * so. Nothing is called by itself, and the cost is that of sorting.
 *
 * Threads: a trace belongs to one thread at a time.
 */
#ifndef DBK_AUDIT_TRACE_H
#define DBK_AUDIT_TRACE_H

#include "index/index.h"

enum dbk_trace_kind {
    DBK_TRACE_EVENT,   /* of the correlation */
    DBK_TRACE_OUTSIDE, /* the cause of one, itself of another correlation */
    DBK_TRACE_UNKNOWN, /* the cause of one, and no event: only `cause` is set */
};

struct dbk_trace_row {
    enum dbk_trace_kind kind;
    uint32_t parent; /* the row of its cause, from 1; 0: none */
    uint32_t circle; /* the row of its cause where the causes go in a circle; 0: they do not */
    uint32_t depth;
    bool last;  /* of its parent's effects */
    bool later; /* its cause was recorded after it */
    uint64_t position;
    uint64_t version;
    int64_t time_us;
    int64_t occurred_us; /* DBK_TIME_NONE: none */
    struct dbk_uuid id;
    struct dbk_slice stream;
    struct dbk_slice type;
    struct dbk_slice actor;       /* its meta's; empty: none */
    struct dbk_slice cause;       /* its meta's `causationid`; empty: none */
    struct dbk_slice correlation; /* of one outside */
};

struct dbk_trace;

/* NULL when out of memory. */
struct dbk_trace *dbk_trace_create(void) DBK_MUST_CHECK;
void dbk_trace_free(struct dbk_trace *trace);
/* Adds a copy of an event of the correlation, in any order, each once. DBK_ENOMEM, DBK_ELIMIT. */
int dbk_trace_add(struct dbk_trace *trace, const struct dbk_event *event) DBK_MUST_CHECK;

/* Looks for an event that was not added. 1: it is there, until the next call; 0: it is not. */
typedef int (*dbk_trace_find_fn)(void *context, const struct dbk_uuid *id,
                                 struct dbk_event *event_out, struct dbk_error *err);
/*
 * Makes the tree, once; rows are valid until the trace is freed. find: called once for each cause
 * that was not added and could be an event.
 *
 * DBK_ENOMEM, DBK_ELIMIT, or what find answered
 */
int dbk_trace_finish(struct dbk_trace *trace, dbk_trace_find_fn find, void *context,
                     struct dbk_error *err) DBK_MUST_CHECK;
size_t dbk_trace_count(const struct dbk_trace *trace);
const struct dbk_trace_row *dbk_trace_row(const struct dbk_trace *trace, size_t index);

#endif
