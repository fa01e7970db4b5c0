/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/mongodb/collection.h"

#include <stdio.h>

#include "capture/mongodb/poll.h"
#include "capture/mongodb/value.h"

int dbk_collection_check(struct dbk_mongodb_session *session, const struct dbk_documents *documents,
                         struct dbk_error *err)
{
    bson_t *command = BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name",
                               BCON_UTF8(documents->table->name), "}");
    bson_t reply;
    bson_iter_t at;
    bson_iter_t kind;
    bool there = false;
    int rc = dbk_mongodb_ask(session, command, &reply, err);
    if (rc == DBK_OK && bson_iter_init(&at, &reply))
        there = bson_iter_find_descendant(&at, "cursor.firstBatch.0.type", &kind);
    if (rc == DBK_OK && !there)
        rc = dbk_documents_fault(documents, DBK_ENOTFOUND, "is not in the database",
                                 "create it, or leave it out", err);
    else if (rc == DBK_OK && (!BSON_ITER_HOLDS_UTF8(&kind) ||
                              strcmp(bson_iter_utf8(&kind, NULL), "collection") != 0))
        rc = dbk_documents_fault(documents, DBK_EINVAL, "is a view or a time series",
                                 "only collections have documents with an _id of their own", err);
    bson_destroy(&reply);
    bson_destroy(command);
    return rc;
}

int dbk_collection_check_id(const struct dbk_documents *documents, const bson_t *document,
                            const struct dbk_change *change, struct dbk_error *err)
{
    bson_iter_t id;
    char text[600];
    if (bson_iter_init_find(&id, document, "_id") && dbk_mongodb_rank(&id) >= 0)
        return DBK_OK;
    (void)snprintf(text, sizeof(text),
                   "has a document whose _id is of a kind that has no order (%.200s)",
                   change->key[0].data);
    return dbk_documents_fault(documents, DBK_EINVAL, text, "give it another one", err);
}

/* ---- Keys ---- */

static int compare_listed(const void *a, const void *b)
{
    const struct dbk_listed_key *left = a;
    const struct dbk_listed_key *right = b;
    return dbk_slice_compare(left->key, right->key);
}

int dbk_listed_keys_make(const struct dbk_slice *keys, size_t count, struct dbk_arena *arena,
                         struct dbk_listed_keys *list_out)
{
    struct dbk_listed_key *items = dbk_arena_alloc_zero(arena, count + 1, sizeof(*items));
    if (items == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < count; i++)
        items[i] = (struct dbk_listed_key){keys[i], i};
    qsort(items, count, sizeof(*items), compare_listed);
    *list_out = (struct dbk_listed_keys){items, count};
    return DBK_OK;
}

bool dbk_listed_keys_find(const struct dbk_listed_keys *list, struct dbk_slice key,
                          size_t *index_out)
{
    const struct dbk_listed_key wanted = {.key = key};
    const struct dbk_listed_key *found =
        list->count == 0
            ? NULL
            : bsearch(&wanted, list->items, list->count, sizeof(wanted), compare_listed);
    if (found != NULL)
        *index_out = found->index;
    return found != NULL;
}

int dbk_collection_put_keys(const struct dbk_mongodb_session *session, const struct dbk_slice *keys,
                            size_t count, bson_t *filter)
{
    bson_t inner;
    bson_t list;
    uint32_t index = 0;
    int rc = DBK_OK;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &inner);
    BSON_APPEND_ARRAY_BEGIN(&inner, "$in", &list);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = dbk_bson_put_candidates(keys[i], !session->is_ferretdb, &list, &index);
    bson_append_array_end(&inner, &list);
    bson_append_document_end(filter, &inner);
    return rc;
}

/* ---- Projections ---- */

static bool is_plain(const char *name)
{
    return name[0] != '\0' && name[0] != '$' && strchr(name, '.') == NULL;
}

void dbk_collection_put_projection(const struct dbk_capture_table *table, bson_t *options)
{
    const char *more[] = {table->polling.cursor, table->polling.deleted};
    bson_t fields;
    for (size_t i = 0; i < table->column_count; i++) {
        if (!is_plain(table->columns[i]))
            return;
    }
    for (size_t i = 0; i < 2; i++) {
        if (more[i] != NULL && !is_plain(more[i]))
            return;
    }
    if (table->column_count == 0)
        return;
    BSON_APPEND_DOCUMENT_BEGIN(options, "projection", &fields);
    for (size_t i = 0; i < table->column_count; i++)
        BSON_APPEND_INT32(&fields, table->columns[i], 1);
    for (size_t i = 0; i < 2; i++) {
        if (more[i] != NULL && !bson_has_field(&fields, more[i]))
            BSON_APPEND_INT32(&fields, more[i], 1);
    }
    bson_append_document_end(options, &fields);
}
