/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams, tags and meta are not sealed: an event that repeats one of its own personal values there
 * is refused, or it could never be forgotten.
 */
#include "engine/state.h"

/* Shorter values are anywhere. */
#define VALUE_SIZE_MIN 3

struct looking {
    const struct dbk_schema_path *path;
    const struct dbk_new_event *event;
    size_t index;
};

static bool holds(struct dbk_slice text, struct dbk_slice value)
{
    return text.size >= value.size && memmem(text.data, text.size, value.data, value.size) != NULL;
}

static int refuse(const struct looking *looking, const char *where, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_EINVAL,
                         "event %zu: its %s holds the value of the personal field %.*s, and could "
                         "not be forgotten: name the person by a number of their own there",
                         looking->index, where, DBK_SLICE_ARGS(looking->path->text));
}

static int look_for(const struct looking *looking, struct dbk_slice value, struct dbk_error *err)
{
    const struct dbk_new_event *event = looking->event;
    if (value.size < VALUE_SIZE_MIN)
        return DBK_OK;
    if (holds(event->stream, value))
        return refuse(looking, "stream", err);
    if (holds(event->meta, value))
        return refuse(looking, "meta", err);
    for (size_t i = 0; i < event->tag_count; i++) {
        if (holds(event->tags[i], value))
            return refuse(looking, "tags", err);
    }
    return DBK_OK;
}

/* All texts and numbers of a value, and of what it has in it. */
static int look_at(const struct looking *looking, const struct dbk_json_node *node,
                   struct dbk_error *err)
{
    int rc = DBK_OK;
    switch (node->kind) {
    case DBK_JSON_STRING:
        return look_for(looking, node->text, err);
    case DBK_JSON_INTEGER:
    case DBK_JSON_DECIMAL:
        return look_for(looking, node->raw, err);
    case DBK_JSON_ARRAY:
    case DBK_JSON_OBJECT: {
        const struct dbk_json_node *item = dbk_json_first(node);
        for (uint32_t i = 0; rc == DBK_OK && i < node->count; i++, item = dbk_json_sibling(item))
            rc = look_at(looking, item, err);
        return rc;
    }
    case DBK_JSON_NULL:
    case DBK_JSON_FALSE:
    case DBK_JSON_TRUE:
        break;
    }
    return DBK_OK;
}

static int follow(const struct looking *looking, const struct dbk_json_node *node, size_t step,
                  struct dbk_error *err)
{
    const struct dbk_schema_path *path = looking->path;
    if (node == NULL || step == path->count)
        return node == NULL ? DBK_OK : look_at(looking, node, err);
    if (path->steps[step].key.data != NULL)
        return node->kind != DBK_JSON_OBJECT
                   ? DBK_OK
                   : follow(looking, dbk_json_member_slice(node, path->steps[step].key), step + 1,
                            err);
    const struct dbk_json_node *item = node->kind == DBK_JSON_ARRAY ? dbk_json_first(node) : NULL;
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && item != NULL && i < node->count;
         i++, item = dbk_json_sibling(item))
        rc = follow(looking, item, step + 1, err);
    return rc;
}

int dbk_engine_check_personal(const struct dbk_schema *schema, const struct dbk_json_node *root,
                              size_t index, const struct dbk_new_event *event,
                              struct dbk_error *err)
{
    size_t count = 0;
    const struct dbk_schema_path *paths = dbk_schema_personal(schema, &count);
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = follow(&(struct looking){.path = &paths[i], .event = event, .index = index}, root, 0,
                    err);
    return rc;
}
