/* SPDX-License-Identifier: Apache-2.0 */
#include "view/along.h"

#include <stdio.h>

#define MEMORY_MAX ((size_t)64 << 20)

/* A view that stands on the model. */
struct item {
    struct dbk_view *view;
    const struct dbk_view_form *form;
    struct dbk_view_source source;
    struct dbk_view_build *build; /* NULL: it is left as it is */
    bool held;                    /* its generation that serves stands still */
};

struct along {
    struct dbk_views *views;
    struct dbk_arena arena;
    struct dbk_view_onto onto;
    struct dbk_view_behind *names; /* onto's: room for the model's tables and all views */
    struct item *items;
    size_t count;
    dbk_along_goes_on_fn goes_on;
    void *goes_on_context;
};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "views: %s", dbk_code_text(DBK_ENOMEM));
}

static bool is_among(const char *const *names, size_t count, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < count && !found; i++)
        found = strcmp(names[i], name) == 0;
    return found;
}

/* True when a view reads the model, or a view that stands on it. */
static bool stands_on(const struct along *along, const struct dbk_view *view, const char *model)
{
    const struct dbk_view_source *source = &dbk_view_form(view)->source;
    bool found = is_among(source->models, source->model_count, model);
    for (size_t i = 0; i < along->count && !found; i++)
        found = is_among(source->views, source->view_count, along->items[i].view->definition.name);
    return found;
}

/* Sources first. */
static int find_items(struct along *along, const char *model, struct dbk_error *err)
{
    struct dbk_views *views = along->views;
    size_t *order = dbk_arena_alloc_zero(&along->arena, views->count + 1, sizeof(*order));
    along->items = dbk_arena_alloc_zero(&along->arena, views->count + 1, sizeof(*along->items));
    if (order == NULL || along->items == NULL)
        return no_memory(err);
    dbk_views_order(views, order);
    for (size_t i = 0; i < views->count; i++) {
        struct dbk_view *view = &views->views[order[i]];
        int rc = dbk_view_settle_form(views, view, err);
        if (rc < 0)
            return rc;
        if (!stands_on(along, view, model))
            continue;
        struct item *item = &along->items[along->count++];
        item->view = view;
        item->form = dbk_view_form(view);
        item->source = item->form->source;
        item->source.onto = &along->onto;
    }
    return DBK_OK;
}

static int name_tables(struct along *along, const struct dbk_model_next *next,
                       struct dbk_error *err)
{
    along->names = dbk_arena_alloc_zero(&along->arena, next->table_count + along->views->count + 1,
                                        sizeof(*along->names));
    if (along->names == NULL)
        return no_memory(err);
    along->onto = (struct dbk_view_onto){
        .model = next->model, .generation = next->generation, .names = along->names};
    for (size_t i = 0; i < next->table_count; i++) {
        struct dbk_view_behind *behind = &along->names[along->onto.name_count++];
        behind->name = dbk_arena_format(&along->arena, "%.*s", DBK_SLICE_ARGS(next->names[i]));
        behind->shown = dbk_arena_format(&along->arena, "SELECT * FROM \"%.*s\"",
                                         DBK_SLICE_ARGS(next->tables[i]));
        if (behind->name == NULL || behind->shown == NULL)
            return no_memory(err);
    }
    return DBK_OK;
}

/* The rebuild is asked whether it goes on, not told how far a view is. */
static bool progress(void *context, uint64_t done, uint64_t total)
{
    const struct along *along = context;
    (void)done;
    (void)total;
    return along->goes_on(along->goes_on_context);
}

/* True when all views that it reads and that stand on the model were built. */
static bool is_ready(const struct along *along, const struct item *item)
{
    bool ready = true;
    for (size_t i = 0; i < along->count && ready; i++)
        ready =
            along->items[i].build != NULL || !is_among(item->source.views, item->source.view_count,
                                                       along->items[i].view->definition.name);
    return ready;
}

/* As the outcome of a refresh, which this takes the place of; one that is under way has its own. */
static void tell(struct dbk_views *views, struct dbk_view *view, const struct dbk_error *outcome)
{
    (void)pthread_mutex_lock(&views->mutex);
    view->row_us = 0;
    view->size_us = 0;
    if (!view->refreshing || view->swapped_next) {
        view->outcome = outcome == NULL ? (struct dbk_error){0} : *outcome;
        view->failed = outcome != NULL;
    }
    (void)pthread_mutex_unlock(&views->mutex);
}

static int build_item(struct along *along, struct item *item, struct dbk_error *err)
{
    struct dbk_views *views = along->views;
    const struct dbk_view *view = item->view;
    struct dbk_error failure = {0};
    struct dbk_error why = {0};
    const struct dbk_view_refresh refresh = {.definition = &item->form->definition,
                                             .source = &item->source,
                                             .fingerprint = item->form->fingerprint,
                                             .store = views->store,
                                             .os = views->os,
                                             .progress = progress,
                                             .context = along};
    if (!is_ready(along, item))
        return DBK_OK;
    int rc = view->home->build_open(&refresh, &item->build, &failure);
    if (rc == DBK_OK) {
        along->names[along->onto.name_count++] = view->home->build_behind(item->build);
        return DBK_OK;
    }
    if (rc == DBK_ESTOPPED || rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "view %s: %s", view->definition.name, failure.message);
    if (rc == DBK_ENOTFOUND) /* There are no rows that would stand beside the new model. */
        return DBK_OK;
    (void)dbk_error_set(&why, rc, "view %s: %.200s", view->definition.name, failure.message);
    tell(views, item->view, &why);
    return DBK_OK;
}

/* Waits for a refresh that is under way; from here on it is as if one were. */
static void hold(struct along *along, struct item *item)
{
    struct dbk_views *views = along->views;
    struct dbk_view *view = item->view;
    (void)pthread_mutex_lock(&views->mutex);
    while (view->refreshing)
        (void)pthread_cond_wait(&views->changed, &views->mutex);
    view->refreshing = true;
    view->swapped_next = true;
    (void)pthread_mutex_unlock(&views->mutex);
    item->held = true;
}

/* Who has joined looks whether the rows are as fresh as was asked for. */
static void let_go(struct along *along, struct item *item)
{
    struct dbk_views *views = along->views;
    struct dbk_view *view = item->view;
    if (!item->held)
        return;
    (void)pthread_mutex_lock(&views->mutex);
    view->refreshing = false;
    view->swapped_next = false;
    view->result = (struct dbk_error){0};
    view->runs++;
    view->row_us = 0;
    dbk_view_ended(views);
    (void)pthread_mutex_unlock(&views->mutex);
    item->held = false;
}

/* Those that read one that was not built are not swapped either. */
static void leave_out(struct along *along, struct item *item)
{
    item->view->home->build_free(item->build, false);
    item->build = NULL;
    let_go(along, item);
    for (size_t i = 0; i < along->count; i++) {
        struct item *other = &along->items[i];
        if (other->build != NULL && !is_ready(along, other))
            leave_out(along, other);
    }
}

/* One that has not been compared with what serves is, once that stands still. */
static int catch_up_item(struct along *along, struct item *item, struct dbk_error *err)
{
    const struct dbk_view_home *home = item->view->home;
    bool compared = item->held;
    if (!compared)
        hold(along, item);
    if (dbk_view_form(item->view) != item->form)
        return dbk_error_set(err, DBK_EBUSY,
                             "it was rolled back while it was built on the model's next "
                             "generation; refresh it");
    int rc = home->build_catch_up(item->build, err);
    return rc < 0 || compared || home->build_compare == NULL
               ? rc
               : home->build_compare(item->build, err);
}

static void catch_up(void *built)
{
    struct along *along = built;
    for (size_t i = 0; i < along->count; i++) {
        struct item *item = &along->items[i];
        struct dbk_error failure = {0};
        struct dbk_error why = {0};
        if (item->build == NULL)
            continue;
        int rc = catch_up_item(along, item, &failure);
        if (rc == DBK_OK)
            continue;
        (void)dbk_error_set(&why, rc, "view %s: %.200s", item->view->definition.name,
                            failure.message);
        tell(along->views, item->view, &why);
        leave_out(along, item);
    }
}

static int swap(void *built, struct dbk_connection *connection, struct dbk_error *err)
{
    struct along *along = built;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < along->count; i++) {
        struct item *item = &along->items[i];
        if (item->build != NULL)
            rc = item->view->home->build_swap(item->build, connection, err);
    }
    return rc;
}

static void done(void *built, bool swapped)
{
    struct along *along = built;
    struct dbk_views *views = along->views;
    for (size_t i = 0; i < along->count; i++) {
        struct item *item = &along->items[i];
        if (item->build == NULL)
            continue;
        if (swapped)
            tell(views, item->view, NULL);
        item->view->home->build_free(item->build, swapped);
        let_go(along, item);
    }
    dbk_arena_release(&along->arena);
    dbk_free(along);
    (void)pthread_mutex_unlock(&views->swapping);
}

static const struct dbk_view_home *home_in(const struct dbk_views *views, const char *path)
{
    for (size_t i = 0; i < views->count; i++) {
        if (strcmp(views->views[i].definition.database_path, path) == 0)
            return views->views[i].home;
    }
    return NULL;
}

static int build(void *context, const struct dbk_model_next *next, dbk_along_goes_on_fn goes_on,
                 void *goes_on_context, void **built_out, struct dbk_error *err)
{
    struct dbk_views *views = context;
    const struct dbk_view_home *home = home_in(views, next->database_path);
    if (home == NULL || home->build_open == NULL)
        return DBK_OK;
    struct along *along = dbk_alloc_zero(1, sizeof(*along));
    if (along == NULL)
        return no_memory(err);
    (void)pthread_mutex_lock(&views->swapping);
    along->views = views;
    along->goes_on = goes_on;
    along->goes_on_context = goes_on_context;
    dbk_arena_init(&along->arena, MEMORY_MAX);
    int rc = name_tables(along, next, err);
    if (rc == DBK_OK)
        rc = find_items(along, next->model, err);
    for (size_t i = 0; rc == DBK_OK && i < along->count; i++)
        rc = build_item(along, &along->items[i], err);
    if (rc < 0)
        done(along, false);
    else
        *built_out = along;
    return rc;
}

void dbk_along_set(struct dbk_views *views)
{
    const struct dbk_models_along hooks = {
        .context = views, .build = build, .catch_up = catch_up, .swap = swap, .done = done};
    dbk_models_set_along(views->models, &hooks);
}
