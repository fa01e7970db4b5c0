/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collection -- what both ways to capture a collection ask the server.
 *
 * Threads: their source's.
 */
#ifndef DBK_CAPTURE_MONGODB_COLLECTION_H
#define DBK_CAPTURE_MONGODB_COLLECTION_H

#include "capture/mongodb/document.h"
#include "target/mongodb/session.h"

/* Keys of the book, to be found by what a document's says. */
struct dbk_listed_key {
    struct dbk_slice key;
    size_t index;
};
struct dbk_listed_keys {
    struct dbk_listed_key *items;
    size_t count;
};

/*
 * Looks whether there is a collection, which is not a view.
 *
 * DBK_ENOTFOUND  there is none; the message names it by file, line and column
 * DBK_EINVAL     it is a view or a time series
 */
int dbk_collection_check(struct dbk_mongodb_session *session, const struct dbk_documents *documents,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* DBK_EINVAL: a document's _id is of a kind by which it could not be gone on behind. */
int dbk_collection_check_id(const struct dbk_documents *documents, const bson_t *document,
                            const struct dbk_change *change, struct dbk_error *err) DBK_MUST_CHECK;

/* Sorts keys, in the arena. DBK_ENOMEM */
int dbk_listed_keys_make(const struct dbk_slice *keys, size_t count, struct dbk_arena *arena,
                         struct dbk_listed_keys *list_out) DBK_MUST_CHECK;
/* False: it is not among them. */
bool dbk_listed_keys_find(const struct dbk_listed_keys *list, struct dbk_slice key,
                          size_t *index_out);
/* Appends {_id: {$in: [all that the keys may be]}}. DBK_ENOMEM */
int dbk_collection_put_keys(const struct dbk_mongodb_session *session, const struct dbk_slice *keys,
                            size_t count, bson_t *filter) DBK_MUST_CHECK;
/* {field: 1, …} of what is captured, where all names can stand in a projection; else nothing. */
void dbk_collection_put_projection(const struct dbk_capture_table *table, bson_t *options);

#endif
