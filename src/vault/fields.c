/* SPDX-License-Identifier: Apache-2.0 */
/* Cutting. */
#include "vault/fields.h"

#include <stdlib.h>
#include <string.h>

#include "vault/seal.h"

#define COUNT_MAX UINT16_MAX

struct span {
    const char *begin;
    const char *end;
};

/* A path, from one of its steps on. Steps into elements at its end are left out. */
struct ahead {
    const struct dbk_schema_step *steps;
    size_t count;
};

struct cutting {
    struct dbk_arena *arena;
    struct dbk_error *err;
    struct dbk_buf path;
    struct dbk_field *fields;
    size_t count;
    size_t capacity;
    struct span *spans; /* to leave out, in order */
    size_t span_count;
    size_t span_capacity;
};

static int out_of_memory(struct cutting *cutting)
{
    return dbk_error_set(cutting->err, DBK_ENOMEM, "out of memory sealing personal fields");
}

/* Room for one more item of an array in the arena. */
static int reserve(struct cutting *cutting, void **items, size_t count, size_t *capacity,
                   size_t size)
{
    if (count < *capacity)
        return DBK_OK;
    size_t wanted = *capacity == 0 ? 16 : *capacity * 2;
    void *larger = dbk_arena_alloc(cutting->arena, wanted * size);
    if (larger == NULL)
        return out_of_memory(cutting);
    if (count > 0)
        memcpy(larger, *items, count * size);
    *items = larger;
    *capacity = wanted;
    return DBK_OK;
}

static int leave_out(struct cutting *cutting, const char *begin, const char *end)
{
    void *items = cutting->spans;
    int rc =
        reserve(cutting, &items, cutting->span_count, &cutting->span_capacity, sizeof(struct span));
    if (rc < 0)
        return rc;
    cutting->spans = items;
    cutting->spans[cutting->span_count++] = (struct span){begin, end};
    return DBK_OK;
}

static int take(struct cutting *cutting, struct dbk_slice value)
{
    void *items = cutting->fields;
    if (cutting->path.rc < 0 || cutting->path.size > DBK_SEAL_PATH_SIZE_MAX)
        return dbk_error_set(cutting->err, DBK_ELIMIT,
                             "the way to a personal field is longer than %d bytes",
                             DBK_SEAL_PATH_SIZE_MAX);
    if (cutting->count >= COUNT_MAX)
        return dbk_error_set(cutting->err, DBK_ELIMIT, "it has more than %d personal fields",
                             COUNT_MAX);
    int rc = reserve(cutting, &items, cutting->count, &cutting->capacity, sizeof(struct dbk_field));
    if (rc < 0)
        return rc;
    cutting->fields = items;
    struct dbk_slice path = dbk_arena_copy(cutting->arena, dbk_buf_slice(&cutting->path));
    if (path.data == NULL)
        return out_of_memory(cutting);
    cutting->fields[cutting->count++] = (struct dbk_field){path, value};
    return DBK_OK;
}

static void append_name(struct dbk_buf *path, struct dbk_slice name)
{
    if (path->size > 0)
        dbk_buf_append_char(path, '.');
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '.' || name.data[i] == '[' || name.data[i] == '\\')
            dbk_buf_append_char(path, '\\');
        dbk_buf_append_char(path, name.data[i]);
    }
}

static bool is_element(const struct dbk_schema_step *step)
{
    return step->key.data == NULL;
}

/* Whether the value, and each element on the way, is what a path goes on in. */
static bool fits_path(const struct dbk_json_node *node, struct ahead ahead)
{
    if (!is_element(ahead.steps))
        return node->kind == DBK_JSON_OBJECT;
    if (node->kind != DBK_JSON_ARRAY)
        return false;
    const struct dbk_json_node *element = dbk_json_first(node);
    for (uint32_t i = 0; i < node->count; i++) {
        if (element->kind != DBK_JSON_NULL &&
            !fits_path(element, (struct ahead){ahead.steps + 1, ahead.count - 1}))
            return false;
        element = dbk_json_sibling(element);
    }
    return true;
}

static bool fits(const struct dbk_json_node *node, const struct ahead *ahead, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!fits_path(node, ahead[i]))
            return false;
    return true;
}

/* The paths that go on in a member; *whole_out: one ends there. */
static size_t choose(const struct ahead *from, size_t count, struct dbk_slice key,
                     struct ahead *next, bool *whole_out)
{
    size_t chosen = 0;
    *whole_out = false;
    for (size_t i = 0; i < count; i++) {
        if (is_element(from[i].steps) || !dbk_slice_equal(from[i].steps->key, key))
            continue;
        if (from[i].count == 1)
            *whole_out = true;
        else
            next[chosen++] = (struct ahead){from[i].steps + 1, from[i].count - 1};
    }
    return chosen;
}

static int walk(struct cutting *cutting, const struct dbk_json_node *node,
                const struct ahead *ahead, size_t count);

/* Where a member begins, behind the brace or value before it. */
static const char *key_begin(const char *at)
{
    while (*at != '"')
        at++;
    return at;
}

static int walk_object(struct cutting *cutting, const struct dbk_json_node *object,
                       const struct ahead *ahead, size_t count)
{
    const struct dbk_json_node *member = dbk_json_first(object);
    const char *before = object->raw.data + 1; /* end of what stands before the member */
    const char *open = NULL;                   /* the first of those cut with none kept before */
    size_t size = cutting->path.size;
    bool kept = false;
    int rc = DBK_OK;
    struct ahead *next = dbk_arena_alloc(cutting->arena, (count + 1) * sizeof(*next));
    if (next == NULL)
        return out_of_memory(cutting);
    for (uint32_t i = 0; rc == DBK_OK && i < object->count; i++) {
        bool whole = false;
        const char *begin = key_begin(before);
        const char *end = member->raw.data + member->raw.size;
        size_t chosen = choose(ahead, count, member->key, next, &whole);
        whole =
            whole || (chosen > 0 && member->kind != DBK_JSON_NULL && !fits(member, next, chosen));
        if (whole || chosen > 0)
            append_name(&cutting->path, member->key);
        if (whole)
            rc = take(cutting, member->raw);
        if (!whole && open != NULL) {
            rc = leave_out(cutting, open, begin);
            open = NULL;
        }
        if (rc == DBK_OK && whole && kept)
            rc = leave_out(cutting, before, end);
        else if (whole && open == NULL)
            open = begin;
        if (rc == DBK_OK && !whole && chosen > 0 && member->kind != DBK_JSON_NULL)
            rc = walk(cutting, member, next, chosen);
        kept = kept || !whole;
        cutting->path.size = size;
        before = end;
        member = dbk_json_sibling(member);
    }
    return rc == DBK_OK && open != NULL ? leave_out(cutting, open, before) : rc;
}

static int walk_array(struct cutting *cutting, const struct dbk_json_node *array,
                      const struct ahead *ahead, size_t count)
{
    const struct dbk_json_node *element = dbk_json_first(array);
    size_t size = cutting->path.size;
    size_t chosen = 0;
    int rc = DBK_OK;
    struct ahead *next = dbk_arena_alloc(cutting->arena, (count + 1) * sizeof(*next));
    if (next == NULL)
        return out_of_memory(cutting);
    for (size_t i = 0; i < count; i++)
        next[chosen++] = (struct ahead){ahead[i].steps + 1, ahead[i].count - 1};
    for (uint32_t i = 0; rc == DBK_OK && i < array->count; i++) {
        dbk_buf_append_format(&cutting->path, "[%u]", (unsigned)i);
        if (element->kind != DBK_JSON_NULL)
            rc = walk(cutting, element, next, chosen);
        cutting->path.size = size;
        element = dbk_json_sibling(element);
    }
    return rc;
}

static int walk(struct cutting *cutting, const struct dbk_json_node *node,
                const struct ahead *ahead, size_t count)
{
    return node->kind == DBK_JSON_OBJECT ? walk_object(cutting, node, ahead, count)
                                         : walk_array(cutting, node, ahead, count);
}

/* Arrays whose elements are personal are taken whole, so a path ends before them. */
static struct ahead *all_ahead(const struct dbk_schema_path *paths, size_t count,
                               struct dbk_arena *arena, size_t *count_out)
{
    struct ahead *ahead = dbk_arena_alloc(arena, (count + 1) * sizeof(*ahead));
    size_t kept = 0;
    for (size_t i = 0; ahead != NULL && i < count; i++) {
        struct ahead path = {paths[i].steps, paths[i].count};
        while (path.count > 0 && is_element(&path.steps[path.count - 1]))
            path.count--;
        ahead[kept++] = path;
    }
    *count_out = kept;
    return ahead;
}

static int compare_fields(const void *a, const void *b)
{
    return dbk_slice_compare(((const struct dbk_field *)a)->path,
                             ((const struct dbk_field *)b)->path);
}

/* The text without the spans. */
static int put_together(struct cutting *cutting, struct dbk_slice text, struct dbk_slice *data_out)
{
    char *data = dbk_arena_alloc(cutting->arena, text.size + 1);
    const char *from = text.data;
    size_t size = 0;
    if (data == NULL)
        return out_of_memory(cutting);
    for (size_t i = 0; i <= cutting->span_count; i++) {
        bool last = i == cutting->span_count;
        const char *end = last ? text.data + text.size : cutting->spans[i].begin;
        memcpy(data + size, from, (size_t)(end - from));
        size += (size_t)(end - from);
        from = last ? end : cutting->spans[i].end;
    }
    *data_out = dbk_slice(data, size);
    return DBK_OK;
}

int dbk_fields_cut(const struct dbk_json_node *nodes, const struct dbk_schema_path *paths,
                   size_t count, struct dbk_arena *arena, struct dbk_cut *cut_out,
                   struct dbk_error *err)
{
    struct cutting cutting = {.arena = arena, .err = err};
    size_t ahead_count = 0;
    struct ahead *ahead = all_ahead(paths, count, arena, &ahead_count);
    *cut_out = (struct dbk_cut){.data = nodes->raw};
    if (ahead == NULL)
        return out_of_memory(&cutting);
    for (size_t i = 0; i < ahead_count; i++)
        if (ahead[i].count == 0 || !fits_path(nodes, ahead[i]))
            return dbk_error_set(err, DBK_EINVAL,
                                 "its personal field %.*s cannot be taken out: all of the data "
                                 "would be",
                                 DBK_SLICE_ARGS(paths[i].text));
    if (count == 0)
        return DBK_OK;
    dbk_buf_init(&cutting.path, (size_t)1 << 20);
    int rc = walk(&cutting, nodes, ahead, ahead_count);
    if (rc == DBK_OK && cutting.count > 0)
        rc = put_together(&cutting, nodes->raw, &cut_out->data);
    dbk_buf_release(&cutting.path);
    if (rc < 0)
        return rc;
    if (cutting.count > 1)
        qsort(cutting.fields, cutting.count, sizeof(*cutting.fields), compare_fields);
    cut_out->fields = cutting.fields;
    cut_out->count = cutting.count;
    return DBK_OK;
}
