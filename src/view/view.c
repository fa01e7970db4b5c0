/* SPDX-License-Identifier: Apache-2.0 */
/* The views of an open book. */
#include "view/view.h"

#include <stdio.h>

#include "base/assert.h"
#include "view/along.h"
#include "view/reads.h"
#include "view/state.h"

#define VIEWS_MEMORY_MAX ((size_t)64 << 20)
/* Up to which period a view keeps its connection between refreshes. */
#define KEEP_US_MAX INT64_C(60000000)
/* How long what was read of a view's row is taken for true; each refresh ends it. */
#define ROW_US INT64_C(1000000)

int dbk_views_open(struct dbk_store *store, struct dbk_models *models, struct dbk_os *os,
                   struct dbk_views **views_out, struct dbk_error *err)
{
    struct dbk_views *views = dbk_alloc_zero(1, sizeof(*views));
    if (views == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "views: %s", dbk_code_text(DBK_ENOMEM));
    pthread_condattr_t attributes;
    views->store = store;
    views->models = models;
    views->os = os;
    dbk_arena_init(&views->arena, VIEWS_MEMORY_MAX);
    (void)pthread_mutex_init(&views->mutex, NULL);
    (void)pthread_mutex_init(&views->swapping, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&views->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    if (models != NULL)
        dbk_along_set(views);
    *views_out = views;
    return DBK_OK;
}

void dbk_views_free(struct dbk_views *views)
{
    if (views == NULL)
        return;
    dbk_views_stop(views);
    (void)pthread_cond_destroy(&views->changed);
    (void)pthread_mutex_destroy(&views->mutex);
    (void)pthread_mutex_destroy(&views->swapping);
    for (size_t i = 0; i < views->count; i++) {
        views->views[i].home->session_free(views->views[i].session);
    }
    dbk_free(views->views);
    dbk_arena_release(&views->arena);
    dbk_free(views);
}

void dbk_view_fingerprint(struct dbk_slice text, char text_out[DBK_VIEW_FINGERPRINT_SIZE])
{
    struct dbk_sha256 hash;
    uint8_t digest[DBK_SHA256_SIZE];
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, text);
    dbk_sha256_final(&hash, digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        (void)snprintf(text_out + 2 * i, 3, "%02x", digest[i]);
}

/* Appends a name to a list in the arena. */
static int push(struct dbk_arena *arena, const char *const **list, size_t *count, const char *name)
{
    const char **grown = dbk_arena_alloc(arena, (*count + 1) * sizeof(*grown));
    char *copy = dbk_arena_format(arena, "%s", name);
    if (grown == NULL || copy == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < *count; i++)
        grown[i] = (*list)[i];
    grown[(*count)++] = copy;
    *list = grown;
    return DBK_OK;
}

/* What it reads of a server that is neither a model's nor a view's, so that whoever reads the same
   is found. */
static int find_tables(struct dbk_views *views, struct dbk_view_form *form)
{
    const struct dbk_view_definition *definition = &form->definition;
    struct dbk_view_source *source = &form->source;
    const char **names = NULL;
    size_t count = 0;
    if (dbk_target_dialect(definition->database_path) == DBK_DIALECT_SQLITE)
        return DBK_OK;
    int rc = dbk_view_reads(dbk_view_select(definition), &views->arena, &names, &count);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        const char *node =
            dbk_arena_format(&views->arena, "%s|%s", definition->database_path, names[i]);
        rc = node == NULL ? DBK_ENOMEM
                          : push(&views->arena, &source->tables, &source->table_count, node);
    }
    return rc;
}

int dbk_view_sources(struct dbk_views *views, struct dbk_view_form *form, struct dbk_error *err)
{
    const struct dbk_view_definition *definition = &form->definition;
    struct dbk_slice select = dbk_view_select(definition);
    struct dbk_view_source *source = &form->source;
    int rc = DBK_OK;
    source->log = dbk_target_dialect(definition->database_path) == DBK_DIALECT_SQLITE &&
                  dbk_sql_names(select, DBK_EVENTS_TABLE);
    for (size_t i = 0; i < views->definition_count && rc == DBK_OK; i++) {
        const struct dbk_model_definition *model = &views->definitions[i];
        const char **tables = NULL;
        size_t table_count = 0;
        if (strcmp(model->database_path, definition->database_path) != 0)
            continue;
        rc = dbk_model_tables(model, &views->arena, &tables, &table_count, err);
        for (size_t j = 0; j < table_count && rc == DBK_OK; j++) {
            if (!dbk_sql_names(select, tables[j]))
                continue;
            rc = push(&views->arena, &source->models, &source->model_count, model->name);
            break;
        }
    }
    for (size_t i = 0; i < views->count && rc == DBK_OK; i++) {
        const struct dbk_view_definition *other = &views->views[i].definition;
        if (strcmp(other->database, definition->database) == 0 &&
            strcmp(other->name, definition->name) != 0 && dbk_sql_names(select, other->name))
            rc = push(&views->arena, &source->views, &source->view_count, other->name);
    }
    return rc < 0 ? rc : find_tables(views, form);
}

/* Those that were added before, and read it. */
static int add_source(struct dbk_views *views, const struct dbk_view_definition *definition)
{
    int rc = DBK_OK;
    for (size_t i = 0; i < views->count && rc == DBK_OK; i++) {
        struct dbk_view_form *other = views->views[i].file;
        if (strcmp(other->definition.database, definition->database) == 0 &&
            dbk_sql_names(dbk_view_select(&other->definition), definition->name))
            rc = push(&views->arena, &other->source.views, &other->source.view_count,
                      definition->name);
    }
    return rc;
}

/* True when a view is refreshed so often that its connection is worth keeping. */
static bool is_frequent(const struct dbk_view_definition *definition)
{
    const struct dbk_schedule *schedule = &definition->schedule;
    bool periodic = schedule->kind == DBK_SCHEDULE_EVERY || schedule->kind == DBK_SCHEDULE_LAG;
    return schedule->kind == DBK_SCHEDULE_CONTINUOUS ||
           (periodic && schedule->period_us <= KEEP_US_MAX);
}

/* Whether the last refresh of an earlier process failed; of a server it is seen later. */
static int look_for_failure(struct dbk_views *views, struct dbk_view *view, struct dbk_error *err)
{
    struct dbk_view_row row;
    return view->home->remote ? DBK_OK : dbk_views_row(views, view, &row, err);
}

int dbk_views_add(struct dbk_views *views, const struct dbk_view_definition *definition,
                  const struct dbk_model_definition *models, size_t model_count, bool writer,
                  struct dbk_error *err)
{
    struct dbk_view *grown = dbk_realloc(views->views, (views->count + 1) * sizeof(*grown));
    if (grown == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "view %s: %s", definition->name,
                             dbk_code_text(DBK_ENOMEM));
    views->views = grown;
    struct dbk_view *view = &grown[views->count];
    *view = (struct dbk_view){.file = dbk_arena_alloc_zero(&views->arena, 1, sizeof(*view->file))};
    views->definitions = models;
    views->definition_count = model_count;
    int rc = view->file == NULL
                 ? DBK_ENOMEM
                 : dbk_view_definition_copy(&views->arena, definition, &view->definition);
    if (rc == DBK_OK) {
        view->file->definition = view->definition;
        atomic_store(&view->form, view->file);
        dbk_view_fingerprint(view->definition.sql, view->file->fingerprint);
        rc = dbk_view_sources(views, view->file, err);
    }
    if (rc == DBK_OK)
        rc = add_source(views, &view->definition);
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "view %s: %s", definition->name, dbk_code_text(rc));
    if (rc == DBK_OK)
        rc = dbk_view_home_of(definition->database_path, &view->home, err);
    /* A server is cleaned beside the schedules: it may be down. */
    if (rc == DBK_OK && writer && !view->home->remote)
        rc = view->home->clean(&view->definition, err);
    if (rc == DBK_OK && writer && is_frequent(definition))
        rc = view->home->session_open(&view->session, err);
    if (rc < 0)
        return rc;
    views->count++;
    views->writer = writer;
    rc = dbk_views_join(views);
    return rc < 0 ? dbk_error_set(err, rc, "view %s: %s", definition->name, dbk_code_text(rc))
                  : look_for_failure(views, view, err);
}

size_t dbk_views_names_in(void *context, const char *address, const char **names)
{
    const struct dbk_views *views = context;
    size_t count = 0;
    for (size_t i = 0; i < views->count; i++) {
        if (strcmp(views->views[i].definition.database_path, address) == 0)
            names[count++] = views->views[i].definition.name;
    }
    return count;
}

int dbk_views_settle(struct dbk_views *views, const char *database_path, struct dbk_error *err)
{
    return dbk_view_settle(&views->remotes, database_path, views->count, dbk_views_names_in, views,
                           &views->arena, err);
}

/* The names that there are, for a did-you-mean. */
int dbk_views_find(struct dbk_views *views, const char *name, size_t *index_out,
                   struct dbk_error *err)
{
    for (size_t i = 0; i < views->count; i++) {
        if (strcmp(views->views[i].definition.name, name) == 0) {
            *index_out = i;
            return DBK_OK;
        }
    }
    const char *closest = NULL;
    const char **candidates = dbk_alloc_zero(views->count + 1, sizeof(*candidates));
    for (size_t i = 0; candidates != NULL && i < views->count; i++)
        candidates[i] = views->views[i].definition.name;
    if (candidates != NULL)
        closest = dbk_closest_name(name, candidates, views->count);
    dbk_free(candidates);
    if (closest != NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "no view is named %s; did you mean %s?", name,
                             closest);
    return dbk_error_set(err, DBK_ENOTFOUND, "no view is named %s", name);
}

struct dbk_view_refresh dbk_view_describe(const struct dbk_views *views,
                                          const struct dbk_view *view)
{
    const struct dbk_view_form *form = dbk_view_form(view);
    return (struct dbk_view_refresh){.definition = &form->definition,
                                     .source = &form->source,
                                     .fingerprint = form->fingerprint,
                                     .store = views->store,
                                     .os = views->os};
}

int dbk_views_explain(struct dbk_views *views, const char *name, bool writer, struct dbk_buf *out,
                      struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_views_find(views, name, &index, err);
    if (rc < 0)
        return rc;
    struct dbk_view *view = &views->views[index];
    rc = dbk_view_settle_form(views, view, err);
    if (rc < 0)
        return rc;
    const struct dbk_view_refresh refresh = dbk_view_describe(views, view);
    return view->home->explain(&refresh, writer, out, err);
}

size_t dbk_views_count(const struct dbk_views *views)
{
    return views->count;
}

static bool is_ordered(const struct dbk_views *views, const char *name, const size_t *order,
                       size_t count)
{
    bool found = false;
    for (size_t i = 0; i < count && !found; i++)
        found = strcmp(views->views[order[i]].definition.name, name) == 0;
    return found;
}

/* Views that name each other in a circle are refused with the book. */
void dbk_views_order(const struct dbk_views *views, size_t *order_out)
{
    for (size_t count = 0; count < views->count; count++) {
        size_t next = views->count;
        for (size_t i = 0; i < views->count && next == views->count; i++) {
            const struct dbk_view_source *source = &dbk_view_form(&views->views[i])->source;
            bool ready = !is_ordered(views, views->views[i].definition.name, order_out, count);
            for (size_t j = 0; j < source->view_count && ready; j++)
                ready = is_ordered(views, source->views[j], order_out, count);
            next = ready ? i : next;
        }
        dbk_assert(next < views->count);
        order_out[count] = next;
    }
}

int dbk_views_checkpoint(struct dbk_views *views, struct dbk_error *err)
{
    const char *done = "";
    int rc = DBK_OK;
    for (size_t i = 0; i < views->count && rc == DBK_OK; i++) {
        const char *path = views->views[i].definition.database_path;
        struct dbk_connection *connection = NULL;
        if (strcmp(path, done) == 0)
            continue;
        done = path;
        rc = dbk_connection_open(path, 0, &connection, err);
        if (rc == DBK_OK)
            rc = dbk_connection_checkpoint(connection, err);
        dbk_connection_free(connection);
    }
    return rc;
}

/* Where another process is the book's writer, it changes the rows of databases here, too. */
bool dbk_view_row_is_known(const struct dbk_views *views, const struct dbk_view *view)
{
    return (views->writer || view->home->remote) && view->row_us != 0 &&
           views->os->monotonic_us(views->os) - view->row_us < ROW_US;
}

int dbk_views_kept(struct dbk_views *views, struct dbk_view *view, struct dbk_view_row *row_out,
                   struct dbk_kept *kept_out, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    (void)pthread_mutex_lock(&views->mutex);
    bool known = dbk_view_row_is_known(views, view);
    uint64_t runs = view->runs;
    *row_out = view->row;
    *kept_out = view->kept;
    failure = view->row_failure;
    (void)pthread_mutex_unlock(&views->mutex);
    if (known && failure.code != DBK_OK)
        return dbk_error_set(err, failure.code, "%s", failure.message);
    if (known)
        return DBK_OK;
    failure = (struct dbk_error){0};
    int rc = view->home->row(&view->definition, row_out, kept_out, &failure);
    (void)pthread_mutex_lock(&views->mutex);
    if (view->runs == runs) {
        view->row = *row_out;
        view->kept = *kept_out;
        view->row_failure = failure;
        view->row_us = views->os->monotonic_us(views->os);
        if (rc == DBK_OK && view->outcome.code == DBK_OK)
            view->failed = row_out->error[0] != '\0';
    }
    (void)pthread_mutex_unlock(&views->mutex);
    return rc < 0 ? dbk_error_set(err, rc, "%s", failure.message) : DBK_OK;
}

int dbk_views_row(struct dbk_views *views, struct dbk_view *view, struct dbk_view_row *row_out,
                  struct dbk_error *err)
{
    struct dbk_kept kept;
    return dbk_views_kept(views, view, row_out, &kept, err);
}
