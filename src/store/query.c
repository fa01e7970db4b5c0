/* SPDX-License-Identifier: Apache-2.0 */
/* Queries by types and tags, as JSON: [{"types":["A","B"],"tags":["x"]},…]. */
#include <stdio.h>

#include "store/store.h"

int dbk_names_read(struct dbk_arena *arena, const struct dbk_json_node *list, const char *what,
                   const struct dbk_slice **names_out, size_t *count_out, struct dbk_error *err)
{
    struct dbk_slice *names = NULL;
    const struct dbk_json_node *name = NULL;
    if (list->kind == DBK_JSON_ARRAY) {
        names = dbk_arena_alloc_zero(arena, list->count + 1, sizeof(*names));
        if (names == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", what);
        name = dbk_json_first(list);
    }
    for (uint32_t i = 0; names != NULL && i < list->count; i++, name = dbk_json_sibling(name)) {
        if (name->kind != DBK_JSON_STRING || name->text.size == 0 || name->text.size > 255) {
            names = NULL;
            break;
        }
        names[i] = name->text;
    }
    if (names == NULL)
        return dbk_error_set(err, DBK_EINVAL, "%s is no list of texts of 1 to 255 bytes", what);
    *names_out = names;
    *count_out = list->count;
    return DBK_OK;
}

static int read_item(struct dbk_arena *arena, const struct dbk_json_node *node, size_t index,
                     struct dbk_query_item *item, struct dbk_error *err)
{
    if (node->kind != DBK_JSON_OBJECT)
        return dbk_error_set(err, DBK_EINVAL,
                             "query: item %zu is no object with \"types\" and \"tags\"", index);
    const struct dbk_json_node *member = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++, member = dbk_json_sibling(member)) {
        char what[64];
        int rc = DBK_OK;
        (void)snprintf(what, sizeof(what), "query: %.*s of item %zu",
                       (int)(member->key.size < 8 ? member->key.size : 8), member->key.data, index);
        if (dbk_slice_equal_text(member->key, "types"))
            rc = dbk_names_read(arena, member, what, &item->types, &item->type_count, err);
        else if (dbk_slice_equal_text(member->key, "tags"))
            rc = dbk_names_read(arena, member, what, &item->tags, &item->tag_count, err);
        else
            rc = dbk_error_set(err, DBK_EINVAL,
                               "query: item %zu has \"%.*s\"; it may have types and tags", index,
                               DBK_SLICE_ARGS(member->key));
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

int dbk_query_read(struct dbk_arena *arena, const struct dbk_json_node *list,
                   struct dbk_query *query_out, struct dbk_error *err)
{
    size_t names = 0;
    if (list->kind != DBK_JSON_ARRAY || list->count == 0)
        return dbk_error_set(err, DBK_EINVAL,
                             "query: it is a list of items, as "
                             "[{\"types\":[\"SeatTaken\"],\"tags\":[\"seat:12A\"]}]");
    struct dbk_query_item *items = dbk_arena_alloc_zero(arena, list->count, sizeof(*items));
    if (items == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading a query");
    const struct dbk_json_node *node = dbk_json_first(list);
    for (uint32_t i = 0; i < list->count; i++, node = dbk_json_sibling(node)) {
        int rc = read_item(arena, node, i, &items[i], err);
        if (rc < 0)
            return rc;
        names += items[i].type_count + items[i].tag_count + 1;
    }
    if (names > DBK_QUERY_NAMES_MAX)
        return dbk_error_set(err, DBK_ELIMIT,
                             "query: its items, types and tags are %zu, at most %d are allowed",
                             names, DBK_QUERY_NAMES_MAX);
    *query_out = (struct dbk_query){items, list->count};
    return DBK_OK;
}
