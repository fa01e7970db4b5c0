/* SPDX-License-Identifier: Apache-2.0 */
/* A subject's events are found by its key's tag: their streams, and what they call the subject. */
#include <stdlib.h>

#include "base/assert.h"
#include "forget/state.h"
#include "log/sealed.h"

struct finding {
    struct dbk_forget *forget;
    struct dbk_traces *traces;
    struct dbk_json *json;
    size_t stream_capacity;
    size_t position_capacity;
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory finding what is forgotten");
}

/* Grows by copying: the arena gives nothing back. */
static void *grow(struct dbk_arena *arena, const void *items, size_t count, size_t *capacity,
                  size_t size)
{
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    char *grown = dbk_arena_alloc_zero(arena, *capacity, size);
    if (grown != NULL && count > 0)
        memcpy(grown, items, count * size);
    return grown;
}

static int add_stream(struct finding *finding, struct dbk_slice stream, size_t from,
                      struct dbk_error *err)
{
    struct dbk_traces *traces = finding->traces;
    /* Events of one subject are in few streams, and mostly in a row. */
    for (size_t i = traces->stream_count; i-- > from;) {
        if (dbk_slice_equal(traces->streams[i], stream))
            return DBK_OK;
    }
    if (traces->stream_count == finding->stream_capacity) {
        traces->streams = grow(&traces->arena, traces->streams, traces->stream_count,
                               &finding->stream_capacity, sizeof(*traces->streams));
        if (traces->streams == NULL)
            return no_memory(err);
    }
    struct dbk_slice copy = dbk_arena_copy(&traces->arena, stream);
    if (copy.data == NULL)
        return no_memory(err);
    traces->streams[traces->stream_count++] = copy;
    return DBK_OK;
}

static int add_position(struct finding *finding, uint64_t position, struct dbk_error *err)
{
    struct dbk_traces *traces = finding->traces;
    if (traces->position_count == finding->position_capacity) {
        traces->positions = grow(&traces->arena, traces->positions, traces->position_count,
                                 &finding->position_capacity, sizeof(*traces->positions));
        if (traces->positions == NULL)
            return no_memory(err);
    }
    traces->positions[traces->position_count++] = position;
    return DBK_OK;
}

/* What an event calls its subject. It stands in the clear. */
static int take_subject(struct finding *finding, const struct dbk_event *event,
                        struct dbk_slice *subject, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    const struct dbk_schema *schema =
        dbk_schemas_find(finding->forget->options.schemas, event->type, event->schema_version);
    const struct dbk_schema_path *path = schema == NULL ? NULL : dbk_schema_subject(schema);
    if (path == NULL || dbk_json_parse(finding->json, event->data, &root, NULL) < 0)
        return DBK_OK;
    const struct dbk_json_node *node = dbk_schema_value(path, root);
    if (node == NULL)
        return DBK_OK;
    *subject = dbk_arena_copy(&finding->traces->arena,
                              node->kind == DBK_JSON_STRING ? node->text : node->raw);
    return subject->data == NULL ? no_memory(err) : DBK_OK;
}

static int find_key(struct finding *finding, const struct dbk_subject *key,
                    struct dbk_forgotten *forgotten, size_t *from_out, struct dbk_error *err)
{
    char text[DBK_KEY_TAG_SIZE + 1];
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    size_t from = finding->traces->stream_count;
    dbk_key_tag(&key->key, text);
    struct dbk_slice tag = dbk_slice(text, DBK_KEY_TAG_SIZE);
    struct dbk_query_item item = {.tags = &tag, .tag_count = 1};
    int rc = dbk_cursor_open(finding->forget->options.store,
                             &(struct dbk_filter){.query = {&item, 1}, .raw = true}, &cursor, err);
    *forgotten = (struct dbk_forgotten){.position = key->forgotten,
                                        .whole = key->mode == DBK_FORGET_TOMBSTONE};
    while (rc == DBK_OK && (rc = dbk_cursor_next(cursor, &event, err)) == 1) {
        rc = add_stream(finding, event.stream, from, err);
        if (rc == DBK_OK)
            rc = add_position(finding, event.position, err);
        if (rc == DBK_OK && forgotten->subject.data == NULL)
            rc = take_subject(finding, &event, &forgotten->subject, err);
    }
    dbk_cursor_free(cursor);
    forgotten->stream_count = finding->traces->stream_count - from;
    *from_out = from;
    return rc;
}

static int compare_positions(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

int dbk_traces_find(struct dbk_forget *forget, const struct dbk_subject *keys, size_t count,
                    struct dbk_traces *traces, struct dbk_error *err)
{
    struct finding finding = {.forget = forget, .traces = traces};
    *traces = (struct dbk_traces){.keys = keys, .count = count};
    dbk_arena_init(&traces->arena, SIZE_MAX / 2);
    traces->subjects = dbk_arena_alloc_zero(&traces->arena, count + 1, sizeof(*traces->subjects));
    size_t *from = dbk_arena_alloc_zero(&traces->arena, count + 1, sizeof(*from));
    finding.json = dbk_json_create(DBK_FORGET_TEXT_MAX * 64);
    int rc =
        traces->subjects == NULL || from == NULL || finding.json == NULL ? no_memory(err) : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        rc = find_key(&finding, &keys[i], &traces->subjects[i], &from[i], err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        traces->subjects[i].streams = traces->streams == NULL ? NULL : traces->streams + from[i];
    if (traces->position_count > 0)
        qsort(traces->positions, traces->position_count, sizeof(*traces->positions),
              compare_positions);
    dbk_json_free(finding.json);
    return rc;
}

void dbk_traces_release(struct dbk_traces *traces)
{
    dbk_arena_release(&traces->arena);
    *traces = (struct dbk_traces){0};
}

bool dbk_traces_has(const struct dbk_traces *traces, uint64_t position)
{
    return traces->position_count > 0 &&
           bsearch(&position, traces->positions, traces->position_count, sizeof(*traces->positions),
                   compare_positions) != NULL;
}
