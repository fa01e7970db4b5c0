/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll -- collections of MongoDB asked for changed documents.
 *
 *     WHOLE   no cursor: all documents, by _id
 *     STAMP   a field that grows: documents from a bound on, by (field, _id). The bound is the
 *             greatest value as of an overlap ago
 *
 * A comparison of MongoDB's sees values of one kind only (numbers, texts, dates, …), and sorting
 * knows all of them. So what is behind a value is what is greater, or of a kind that sorts behind.
 * A cursor's values must be of one kind: each round looks for others.
 *
 * Threads: its source's.
 * Source:  MongoDB's manual 7.0, "Comparison/Sort Order", "$type".
 */
#ifndef DBK_CAPTURE_MONGODB_POLL_H
#define DBK_CAPTURE_MONGODB_POLL_H

#include <mongoc/mongoc.h>

#include "capture/mongodb/document.h"
#include "capture/poll.h"
#include "target/mongodb/session.h"

struct dbk_mongodb_poll {
    struct dbk_connection *connection;
    bool majority;         /* reads see only what a majority has */
    mongoc_cursor_t *page; /* NULL: none is open */
    const bson_t *row;     /* at hand, the page's */
};

struct dbk_mongodb_poll_table {
    struct dbk_documents documents;
    bool stamped;
    /* {v: the cursor's value, id: the _id} of the last that was told; NULL: before the first */
    bson_t *cursor;
    /* {v: …}; NULL: none */
    bson_t *from;   /* documents from here on are read in this round */
    bson_t *next;   /* and in the next */
    bson_t *newest; /* the greatest as of newest_us */
    int64_t newest_us;
};

/* ---- filter.c ---- */

/* Which kind of values one is of, in the order of sorting; -1: none that documents are told by. */
int dbk_mongodb_rank(const bson_iter_t *value);
/* Appends what documents behind the table's place must match, or those from its bound on. */
void dbk_mongodb_put_filter(const struct dbk_mongodb_poll_table *table, bson_t *filter);
/* Appends {field: {$type: [kinds that sort behind, arrays]}}. */
void dbk_mongodb_put_others(const char *field, int rank, bson_t *filter);

extern const struct dbk_poll_kind dbk_poll_kind;

#endif
