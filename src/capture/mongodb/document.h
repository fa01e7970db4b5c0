/* SPDX-License-Identifier: Apache-2.0 */
/*
 * document -- a document of a collection, as a source tells a row.
 *
 * A document has the fields that it has: each other list of them is another shape. Fields that
 * services/<name>.yaml names (columns, mask, subject, personal) are there in each row, and null
 * where a document has none. Others that it has are captured where `columns` is not given.
 *
 * Threads: one at a time.
 */
#ifndef DBK_CAPTURE_MONGODB_DOCUMENT_H
#define DBK_CAPTURE_MONGODB_DOCUMENT_H

#include <bson/bson.h>

#include "capture/source.h"

struct dbk_documents {
    const struct dbk_capture_service *service;
    const struct dbk_capture_table *table;
    size_t index; /* of the table in its service */
    struct dbk_arena arena;
    struct dbk_change_shape shape; /* of the last document */
};

void dbk_documents_init(struct dbk_documents *documents, const struct dbk_capture_service *service,
                        size_t index);
void dbk_documents_release(struct dbk_documents *documents);

/* Fills err with "file:line:column: the collection `x` <what>: <fix>". */
int dbk_documents_fault(const struct dbk_documents *documents, int code, const char *what,
                        const char *fix, struct dbk_error *err);

/*
 * A document as a DBK_CHANGE_ROW, all in the arena. The shape is valid until the next call.
 *
 * DBK_EINVAL    a name or a text in it is no UTF-8, or a field is there twice
 * DBK_ELIMIT    it has too many fields, or is too deep
 * DBK_ECORRUPT  it is no BSON, or has no _id
 */
int dbk_documents_take(struct dbk_documents *documents, const bson_t *document,
                       struct dbk_arena *arena, struct dbk_change *change_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
/* The same of its key alone, as a DBK_CHANGE_DELETE; key: a document with an _id. */
int dbk_documents_take_key(const struct dbk_documents *documents, const bson_t *key,
                           struct dbk_arena *arena, struct dbk_change *change_out,
                           struct dbk_error *err) DBK_MUST_CHECK;

#endif
