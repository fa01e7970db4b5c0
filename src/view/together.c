/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which views are refreshed together: those of a diamond, and with a view what it stands on by
 * `refresh: downstream`.
 *
 * A view that reads one source by two ways (a table and a view over it, or two views over one)
 * would show rows that never were at one time, if they were refreshed one after the other. So it is
 * refreshed with the views on those ways, as far as they have its schedule or none of their own;
 * views with other schedules are as old as their heads say.
 */
#include "base/assert.h"
#include "view/state.h"

/* Nodes are the views, by index, and behind them the models, others' tables and the log. */
struct graph {
    struct dbk_views *views;
    const char **models;
    size_t model_count;
    size_t size;  /* of all nodes */
    bool *reads;  /* a row a view: the nodes that it reads itself */
    bool *stands; /* those and what they stand on, and the view itself */
    size_t *group;
};

static bool reads(const struct graph *graph, size_t view, size_t node)
{
    return graph->reads[view * graph->size + node];
}

/* A model stands on itself alone. */
static bool stands(const struct graph *graph, size_t node, size_t on)
{
    return node >= graph->views->count ? node == on : graph->stands[node * graph->size + on];
}

static size_t model_node(struct graph *graph, const char *name)
{
    size_t i = 0;
    while (i < graph->model_count && strcmp(graph->models[i], name) != 0)
        i++;
    if (i == graph->model_count)
        graph->models[graph->model_count++] = name;
    return graph->views->count + i;
}

static size_t count_models(const struct dbk_views *views)
{
    size_t count = 0;
    for (size_t i = 0; i < views->count; i++) {
        const struct dbk_view_source *source = &dbk_view_form(&views->views[i])->source;
        count += source->model_count + source->table_count + 1;
    }
    return count;
}

static void fill_reads(struct graph *graph)
{
    const struct dbk_views *views = graph->views;
    for (size_t i = 0; i < views->count; i++) {
        const struct dbk_view_source *source = &dbk_view_form(&views->views[i])->source;
        bool *row = &graph->reads[i * graph->size];
        for (size_t j = 0; j < source->model_count; j++)
            row[model_node(graph, source->models[j])] = true;
        for (size_t j = 0; j < source->table_count; j++)
            row[model_node(graph, source->tables[j])] = true;
        if (source->log)
            row[model_node(graph, "events")] = true;
        for (size_t j = 0; j < source->view_count; j++) {
            size_t index = 0;
            if (dbk_views_find(graph->views, source->views[j], &index, NULL) == DBK_OK)
                row[index] = true;
        }
    }
}

/* What a view stands on that stands on something, too; true: it was not known. */
static bool take_on(struct graph *graph, size_t view, size_t on)
{
    const bool *from = &graph->stands[on * graph->size];
    bool *row = &graph->stands[view * graph->size];
    bool moved = false;
    for (size_t node = 0; row[on] && node < graph->size; node++) {
        moved = moved || (from[node] && !row[node]);
        row[node] = row[node] || from[node];
    }
    return moved;
}

/* Until nothing is added: paths are short. */
static void fill_stands(struct graph *graph)
{
    size_t count = graph->views->count;
    memcpy(graph->stands, graph->reads, count * graph->size * sizeof(*graph->stands));
    for (size_t i = 0; i < count; i++)
        graph->stands[i * graph->size + i] = true;
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < count; i++) {
            for (size_t on = 0; on < count; on++)
                moved = take_on(graph, i, on) || moved;
        }
    }
}

static void join(struct graph *graph, size_t view, size_t other)
{
    const struct dbk_schedule *first = &graph->views->views[view].definition.schedule;
    const struct dbk_schedule *second = &graph->views->views[other].definition.schedule;
    size_t from = graph->group[other];
    if (second->kind != DBK_SCHEDULE_DOWNSTREAM && !dbk_schedule_equal(first, second))
        return;
    for (size_t i = 0; i < graph->views->count; i++)
        graph->group[i] = graph->group[i] == from ? graph->group[view] : graph->group[i];
}

/* The views on the way from one that a view reads down to what another that it reads stands on. */
static void join_way(struct graph *graph, size_t view, size_t read, size_t other)
{
    for (size_t way = 0; way < graph->views->count; way++) {
        bool meets = false;
        for (size_t node = 0; node < graph->size && !meets; node++)
            meets = (way == read || node != way) && stands(graph, way, node) &&
                    stands(graph, other, node);
        if (meets && stands(graph, read, way))
            join(graph, view, way);
    }
}

static void join_diamonds(struct graph *graph)
{
    for (size_t view = 0; view < graph->views->count; view++) {
        for (size_t read = 0; read < graph->views->count; read++) {
            for (size_t other = 0; other < graph->size; other++) {
                if (read != other && reads(graph, view, read) && reads(graph, view, other))
                    join_way(graph, view, read, other);
            }
        }
    }
}

/* Adds what goes with the views that are in already; true: some were. */
static bool widen(const struct graph *graph, bool *in)
{
    bool moved = false;
    for (size_t i = 0; i < graph->views->count; i++) {
        for (size_t j = 0; j < graph->views->count && in[i]; j++) {
            bool with = graph->group[i] == graph->group[j] ||
                        (reads(graph, i, j) && graph->views->views[j].definition.schedule.kind ==
                                                   DBK_SCHEDULE_DOWNSTREAM);
            moved = moved || (with && !in[j]);
            in[j] = in[j] || with;
        }
    }
    return moved;
}

/* Takes those that are in, each behind what it stands on. */
static void order(const struct graph *graph, bool *in, struct dbk_view_group *group)
{
    for (size_t next = 0; next < graph->views->count;) {
        for (next = 0; next < graph->views->count; next++) {
            bool ready = in[next];
            for (size_t i = 0; i < graph->views->count && ready; i++)
                ready = !in[i] || i == next || !stands(graph, next, i);
            if (ready)
                break;
        }
        if (next == graph->views->count)
            break;
        in[next] = false;
        group->members[group->count++] = next;
    }
}

/* The groups that were found before stay with who has them. */
static int list(const struct graph *graph, struct dbk_views *views, bool *in)
{
    for (size_t i = 0; i < views->count; i++) {
        struct dbk_view_group *group = dbk_arena_alloc_zero(
            &views->arena, 1, sizeof(*group) + views->count * sizeof(group->members[0]));
        if (group == NULL)
            return DBK_ENOMEM;
        memset(in, 0, views->count * sizeof(*in));
        in[i] = true;
        while (widen(graph, in))
            continue;
        order(graph, in, group);
        /* In a circle, which is refused with the book, nobody is first. */
        if (group->count == 0)
            group->members[group->count++] = i;
        atomic_store(&views->views[i].group, group);
    }
    return DBK_OK;
}

int dbk_views_join(struct dbk_views *views)
{
    struct graph graph = {.views = views, .size = views->count + count_models(views)};
    bool *in = dbk_alloc_zero(views->count + 1, sizeof(*in));
    graph.models = dbk_alloc_zero(graph.size + 1, sizeof(*graph.models));
    graph.reads = dbk_alloc_zero(views->count * graph.size + 1, sizeof(*graph.reads));
    graph.stands = dbk_alloc_zero(views->count * graph.size + 1, sizeof(*graph.stands));
    graph.group = dbk_alloc_zero(views->count + 1, sizeof(*graph.group));
    int rc = DBK_ENOMEM;
    if (in != NULL && graph.models != NULL && graph.reads != NULL && graph.stands != NULL &&
        graph.group != NULL) {
        for (size_t i = 0; i < views->count; i++)
            graph.group[i] = i;
        fill_reads(&graph);
        fill_stands(&graph);
        join_diamonds(&graph);
        rc = list(&graph, views, in);
    }
    dbk_free(in);
    dbk_free(graph.models);
    dbk_free(graph.reads);
    dbk_free(graph.stands);
    dbk_free(graph.group);
    return rc;
}
