/* SPDX-License-Identifier: Apache-2.0 */
#include "audit/trace.h"

#include <stdlib.h>

#include "base/assert.h"
#include "json/json.h"

#define NONE UINT32_MAX
#define TEXTS_SIZE_MAX ((size_t)1 << 30)
#define META_TEXT_MAX 255

struct node {
    struct dbk_trace_row row;
    uint64_t order; /* nodes of one parent stand by it */
    uint32_t parent;
    uint32_t circle;
    uint32_t child;   /* the first one */
    uint32_t sibling; /* the next one */
    uint32_t mark;    /* of the walk that came by; 0: none has */
    uint32_t number;  /* of its row, from 1 */
};

struct dbk_trace {
    struct dbk_arena texts;
    struct node *nodes; /* events as they were added, then what else causes them */
    size_t count;
    size_t capacity;
    size_t event_count;
    uint32_t *by_id; /* events, by their ids */
    uint32_t *rows;  /* nodes, as they are read */
};

struct dbk_trace *dbk_trace_create(void)
{
    struct dbk_trace *trace = dbk_alloc_zero(1, sizeof(*trace));
    if (trace != NULL)
        dbk_arena_init(&trace->texts, TEXTS_SIZE_MAX);
    return trace;
}

void dbk_trace_free(struct dbk_trace *trace)
{
    if (trace == NULL)
        return;
    dbk_arena_release(&trace->texts);
    dbk_free(trace->nodes);
    dbk_free(trace->by_id);
    dbk_free(trace->rows);
    dbk_free(trace);
}

static int copy(struct dbk_trace *trace, struct dbk_slice text, struct dbk_slice *copy_out)
{
    *copy_out = dbk_arena_copy(&trace->texts, text);
    return copy_out->data == NULL ? DBK_ENOMEM : DBK_OK;
}

/* A text of the meta; empty: there is none. Ids of events are written in one way. */
static int copy_meta(struct dbk_trace *trace, struct dbk_slice meta, const char *key,
                     struct dbk_slice *copy_out)
{
    char room[META_TEXT_MAX];
    char id_text[DBK_UUID_TEXT_SIZE];
    struct dbk_uuid id;
    struct dbk_slice text;
    if (!dbk_json_find_text(meta, key, room, sizeof(room), &text))
        text = (struct dbk_slice){0};
    if (dbk_uuid_parse(text, &id)) {
        dbk_uuid_format(&id, id_text);
        text = dbk_slice_of(id_text);
    }
    return copy(trace, text, copy_out);
}

static int add_node(struct dbk_trace *trace, const struct dbk_trace_row *row)
{
    if (trace->count == trace->capacity) {
        size_t capacity = trace->capacity * 2 + 64;
        if (capacity >= NONE)
            return DBK_ELIMIT;
        struct node *nodes = dbk_realloc(trace->nodes, capacity * sizeof(*nodes));
        if (nodes == NULL)
            return DBK_ENOMEM;
        trace->nodes = nodes;
        trace->capacity = capacity;
    }
    trace->nodes[trace->count++] = (struct node){.row = *row,
                                                 .order = row->position,
                                                 .parent = NONE,
                                                 .circle = NONE,
                                                 .child = NONE,
                                                 .sibling = NONE};
    return DBK_OK;
}

static int add_event(struct dbk_trace *trace, enum dbk_trace_kind kind,
                     const struct dbk_event *event)
{
    struct dbk_trace_row row = {.kind = kind,
                                .position = event->position,
                                .version = event->version,
                                .time_us = event->time_us,
                                .occurred_us = event->occurred_us,
                                .id = event->id};
    char room[DBK_CORRELATION_SIZE_MAX];
    char id_text[DBK_UUID_TEXT_SIZE];
    struct dbk_slice correlation;
    int rc = copy(trace, event->stream, &row.stream);
    if (rc == DBK_OK)
        rc = copy(trace, event->type, &row.type);
    if (rc == DBK_OK)
        rc = copy_meta(trace, event->meta, "actor", &row.actor);
    if (rc == DBK_OK)
        rc = copy_meta(trace, event->meta, "causationid", &row.cause);
    if (rc == DBK_OK && kind == DBK_TRACE_OUTSIDE) {
        dbk_uuid_format(&event->id, id_text);
        if (!dbk_event_correlation(event, room, &correlation))
            correlation = dbk_slice_of(id_text);
        rc = copy(trace, correlation, &row.correlation);
    }
    return rc == DBK_OK ? add_node(trace, &row) : rc;
}

int dbk_trace_add(struct dbk_trace *trace, const struct dbk_event *event)
{
    dbk_assert(trace->event_count == trace->count);
    int rc = add_event(trace, DBK_TRACE_EVENT, event);
    trace->event_count = trace->count;
    return rc;
}

/* ---- Sorting: the nodes are those of the trace being finished ---- */

static int compare_ids(const void *a, const void *b, void *nodes)
{
    const struct node *all = nodes;
    const struct node *left = &all[*(const uint32_t *)a];
    const struct node *right = &all[*(const uint32_t *)b];
    return memcmp(left->row.id.bytes, right->row.id.bytes, DBK_UUID_SIZE);
}

static int compare_numbers(uint64_t left, uint64_t right)
{
    return (left > right) - (left < right);
}

static int compare_causes(const void *a, const void *b, void *nodes)
{
    const struct node *all = nodes;
    const struct node *left = &all[*(const uint32_t *)a];
    const struct node *right = &all[*(const uint32_t *)b];
    int order = dbk_slice_compare(left->row.cause, right->row.cause);
    return order != 0 ? order : compare_numbers(left->order, right->order);
}

/* What is no event goes before the first that it caused. */
static int compare_orders(const void *a, const void *b, void *nodes)
{
    const struct node *all = nodes;
    const struct node *left = &all[*(const uint32_t *)a];
    const struct node *right = &all[*(const uint32_t *)b];
    int order = compare_numbers(left->order, right->order);
    if (order == 0)
        order = compare_numbers(left->row.kind != DBK_TRACE_UNKNOWN,
                                right->row.kind != DBK_TRACE_UNKNOWN);
    return order != 0 ? order : dbk_slice_compare(left->row.cause, right->row.cause);
}

static uint32_t *order_nodes(const struct dbk_trace *trace, size_t count,
                             int (*compare)(const void *, const void *, void *))
{
    uint32_t *order = dbk_alloc((count + 1) * sizeof(*order));
    if (order == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, count, sizeof(*order), compare, trace->nodes);
    return order;
}

/* ---- Causes ---- */

/* The event that was added with this id, NONE when there is none. */
static uint32_t find_added(const struct dbk_trace *trace, const struct dbk_uuid *id)
{
    size_t low = 0;
    size_t high = trace->event_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct node *node = &trace->nodes[trace->by_id[middle]];
        int order = memcmp(node->row.id.bytes, id->bytes, DBK_UUID_SIZE);
        if (order == 0)
            return trace->by_id[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NONE;
}

static void find_parent(struct dbk_trace *trace, struct node *node)
{
    struct dbk_uuid id;
    if (dbk_uuid_parse(node->row.cause, &id))
        node->parent = find_added(trace, &id);
}

/* A cause that was not added becomes a node of its own, before `effect`. */
static int add_cause(struct dbk_trace *trace, uint32_t effect, dbk_trace_find_fn find,
                     void *context, struct dbk_error *err)
{
    struct dbk_slice cause = trace->nodes[effect].row.cause;
    struct dbk_uuid id;
    struct dbk_event event;
    int rc = dbk_uuid_parse(cause, &id) ? find(context, &id, &event, err) : 0;
    if (rc < 0)
        return rc;
    if (rc == 1) {
        rc = add_event(trace, DBK_TRACE_OUTSIDE, &event);
        if (rc == DBK_OK)
            find_parent(trace, &trace->nodes[trace->count - 1]);
        return rc;
    }
    rc = add_node(trace, &(struct dbk_trace_row){.kind = DBK_TRACE_UNKNOWN,
                                                 .occurred_us = DBK_TIME_NONE,
                                                 .cause = cause});
    if (rc == DBK_OK)
        trace->nodes[trace->count - 1].order = trace->nodes[effect].order;
    return rc;
}

/* Events with the same cause stand together, so that each cause is looked for once. */
static int add_causes(struct dbk_trace *trace, dbk_trace_find_fn find, void *context,
                      struct dbk_error *err)
{
    uint32_t *order = order_nodes(trace, trace->event_count, compare_causes);
    uint32_t cause = NONE;
    int rc = order == NULL ? DBK_ENOMEM : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < trace->event_count; i++) {
        struct dbk_slice text = trace->nodes[order[i]].row.cause;
        if (text.size == 0 || trace->nodes[order[i]].parent != NONE)
            continue;
        if (cause == NONE || !dbk_slice_equal(trace->nodes[order[i - 1]].row.cause, text)) {
            rc = add_cause(trace, order[i], find, context, err);
            cause = (uint32_t)trace->count - 1;
        }
        if (rc == DBK_OK)
            trace->nodes[order[i]].parent = cause;
    }
    dbk_free(order);
    return rc;
}

/* Cuts a circle that has this node at its first event. */
static void cut_circle(struct node *nodes, uint32_t begin)
{
    uint32_t first = begin;
    for (uint32_t at = nodes[begin].parent; at != begin; at = nodes[at].parent)
        first = nodes[at].order < nodes[first].order ? at : first;
    nodes[first].circle = nodes[first].parent;
    nodes[first].parent = NONE;
}

/* Each node is walked over once: a walk ends where an earlier one came by, or in a circle. */
static void cut_circles(struct dbk_trace *trace)
{
    struct node *nodes = trace->nodes;
    for (uint32_t i = 0; i < trace->count; i++) {
        uint32_t at = i;
        while (at != NONE && nodes[at].mark == 0) {
            nodes[at].mark = i + 1;
            at = nodes[at].parent;
        }
        if (at != NONE && nodes[at].mark == i + 1)
            cut_circle(nodes, at);
    }
}

/* ---- Rows ---- */

/* Makes the lists of children, and returns the first of those without a parent. */
static uint32_t link_children(struct dbk_trace *trace, const uint32_t *order)
{
    uint32_t roots = NONE;
    for (size_t i = trace->count; i-- > 0;) {
        struct node *node = &trace->nodes[order[i]];
        uint32_t *list = node->parent == NONE ? &roots : &trace->nodes[node->parent].child;
        node->sibling = *list;
        *list = order[i];
    }
    return roots;
}

static void number_rows(struct dbk_trace *trace, uint32_t at)
{
    struct node *nodes = trace->nodes;
    size_t count = 0;
    while (at != NONE) {
        struct node *node = &nodes[at];
        trace->rows[count++] = at;
        node->number = (uint32_t)count;
        node->row.last = node->sibling == NONE;
        if (node->parent != NONE) {
            const struct node *parent = &nodes[node->parent];
            node->row.parent = parent->number;
            node->row.depth = parent->row.depth + 1;
            node->row.later = parent->row.position > node->row.position;
        }
        uint32_t next = node->child;
        for (uint32_t up = at; next == NONE && up != NONE; up = nodes[up].parent)
            next = nodes[up].sibling;
        at = next;
    }
    dbk_assert(count == trace->count);
    for (size_t i = 0; i < trace->count; i++) {
        if (nodes[i].circle != NONE)
            nodes[i].row.circle = nodes[nodes[i].circle].number;
    }
}

int dbk_trace_finish(struct dbk_trace *trace, dbk_trace_find_fn find, void *context,
                     struct dbk_error *err)
{
    uint32_t *order = NULL;
    int rc = DBK_OK;
    dbk_assert(trace->rows == NULL);
    trace->by_id = order_nodes(trace, trace->event_count, compare_ids);
    if (trace->by_id == NULL)
        rc = DBK_ENOMEM;
    for (size_t i = 0; rc == DBK_OK && i < trace->event_count; i++)
        find_parent(trace, &trace->nodes[i]);
    if (rc == DBK_OK)
        rc = add_causes(trace, find, context, err);
    if (rc == DBK_OK) {
        cut_circles(trace);
        order = order_nodes(trace, trace->count, compare_orders);
        trace->rows = dbk_alloc((trace->count + 1) * sizeof(*trace->rows));
        rc = order == NULL || trace->rows == NULL ? DBK_ENOMEM : DBK_OK;
    }
    if (rc == DBK_OK)
        number_rows(trace, link_children(trace, order));
    dbk_free(order);
    if (rc < 0 && err != NULL && err->code == DBK_OK)
        return dbk_error_set(err, rc, "tracing %zu events: %s", trace->event_count,
                             dbk_code_text(rc));
    return rc;
}

size_t dbk_trace_count(const struct dbk_trace *trace)
{
    return trace->count;
}

const struct dbk_trace_row *dbk_trace_row(const struct dbk_trace *trace, size_t index)
{
    return &trace->nodes[trace->rows[index]].row;
}
