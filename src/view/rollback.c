/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view is rolled back: the generation that was kept serves again, and the file that made it says
 * how it is kept, as long as the view's own file is the one that was rolled back from.
 *
 * What says so is the row of the generation that was undone (view/kept.h), so that it holds over a
 * restart, and ends by itself when the file is changed.
 */
#include "view/state.h"

#define TEXT_SIZE_MAX ((size_t)16 << 20)

/* True when a view is reached from what a form reads. With the mutex. */
static bool reaches(const struct dbk_views *views, const struct dbk_view_form *form,
                    const char *name, size_t depth)
{
    for (size_t i = 0; depth < views->count && i < form->source.view_count; i++) {
        const char *source = form->source.views[i];
        if (strcmp(source, name) == 0)
            return true;
        for (size_t j = 0; j < views->count; j++) {
            const struct dbk_view *view = &views->views[j];
            if (strcmp(view->definition.name, source) == 0 &&
                reaches(views, dbk_view_form(view), name, depth + 1))
                return true;
        }
    }
    return false;
}

/* What the file's text says of the rows, and what the view's own file says of all else. */
static int parse(struct dbk_views *views, const struct dbk_view *view, struct dbk_slice text,
                 struct dbk_view_form *form, struct dbk_error *err)
{
    const struct dbk_view_definition *file = &view->definition;
    struct dbk_diagnostics faults;
    struct dbk_view_definition old = {0};
    dbk_diagnostics_init(&faults);
    int rc = dbk_view_parse(file->name, file->file, text, file->database, &views->arena, &old,
                            &faults, err);
    if (rc == DBK_OK && faults.count > 0)
        rc = dbk_error_set(err, DBK_ECORRUPT,
                           "view %s: the file that it was rolled back to cannot be read: %.120s; "
                           "change %s, and it is built by that",
                           file->name, faults.items[0].what, file->file);
    dbk_diagnostics_release(&faults);
    form->definition = *file;
    form->definition.sql = text;
    form->definition.mode = old.mode;
    form->definition.mode_place = old.mode_place;
    form->definition.indexes = old.indexes;
    form->definition.index_count = old.index_count;
    form->definition.key = old.key;
    form->definition.key_count = old.key_count;
    form->definition.key_place = old.key_place;
    dbk_view_fingerprint(text, form->fingerprint);
    return rc < 0 ? rc : dbk_view_sources(views, form, err);
}

/* With the mutex. */
static int make_form(struct dbk_views *views, struct dbk_view *view, struct dbk_slice text,
                     const struct dbk_view_form **form_out, struct dbk_error *err)
{
    const char *name = view->definition.name;
    struct dbk_view_form *form = dbk_arena_alloc_zero(&views->arena, 1, sizeof(*form));
    struct dbk_slice copy = dbk_arena_copy(&views->arena, text);
    if (form == NULL || copy.data == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "view %s: %s", name, dbk_code_text(DBK_ENOMEM));
    int rc = parse(views, view, copy, form, err);
    if (rc == DBK_OK && reaches(views, form, name, 0))
        rc = dbk_error_set(err, DBK_EREFUSED,
                           "view %s cannot be kept by the file that it is rolled back to: it reads "
                           "a view that reads it by now",
                           name);
    if (rc == DBK_OK)
        *form_out = form;
    return rc;
}

/* With the mutex. */
static int set_form(struct dbk_views *views, struct dbk_view *view, struct dbk_slice text,
                    struct dbk_error *err)
{
    const struct dbk_view_form *form = view->file;
    int rc = DBK_OK;
    if (text.size > 0)
        rc = make_form(views, view, text, &form, err);
    if (rc == DBK_OK && form != dbk_view_form(view)) {
        atomic_store(&view->form, form);
        rc = dbk_views_join(views);
        if (rc < 0)
            rc = dbk_error_set(err, rc, "view %s: %s", view->definition.name, dbk_code_text(rc));
    }
    if (rc == DBK_OK)
        view->settled = true;
    return rc;
}

/* The view is kept by this text from here on; empty: by its file. What was read before a refresh
   ended, or a rollback swapped, says nothing any longer: of who has claimed the view none did. */
static int set_form_of(struct dbk_views *views, struct dbk_view *view, uint64_t runs,
                       struct dbk_slice text, struct dbk_error *err)
{
    (void)pthread_mutex_lock(&views->mutex);
    int rc = view->runs == runs ? set_form(views, view, text, err) : DBK_OK;
    (void)pthread_mutex_unlock(&views->mutex);
    return rc;
}

int dbk_view_settle_form(struct dbk_views *views, struct dbk_view *view, struct dbk_error *err)
{
    struct dbk_view_row row;
    struct dbk_kept kept;
    struct dbk_arena arena;
    struct dbk_slice text = dbk_slice(NULL, 0);
    (void)pthread_mutex_lock(&views->mutex);
    /* Another process may be the one that rolls back. */
    bool settled = view->settled && views->writer;
    uint64_t runs = view->runs;
    (void)pthread_mutex_unlock(&views->mutex);
    if (settled)
        return DBK_OK;
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    int rc = dbk_views_kept(views, view, &row, &kept, err);
    if (rc == DBK_OK && kept.undone && strcmp(kept.fingerprint, view->file->fingerprint) == 0)
        rc = view->home->file(&view->definition, false, &arena, &text, err);
    if (rc == DBK_OK && (text.size > 0 || dbk_view_form(view) != view->file || views->writer))
        rc = set_form_of(views, view, runs, text, err);
    dbk_arena_release(&arena);
    return rc;
}

/* While the view is claimed: what its session has prepared is for another generation. */
static int renew_session(struct dbk_view *view, struct dbk_error *err)
{
    if (view->session == NULL)
        return DBK_OK;
    view->home->session_free(view->session);
    view->session = NULL;
    return view->home->session_open(&view->session, err);
}

/* Whether the view can be kept by the file of what is kept: before anything is swapped. */
static int try_form(struct dbk_views *views, struct dbk_view *view, struct dbk_error *err)
{
    const struct dbk_view_form *form = NULL;
    struct dbk_arena arena;
    struct dbk_slice text = dbk_slice(NULL, 0);
    struct dbk_view_row row;
    struct dbk_kept kept;
    dbk_arena_init(&arena, TEXT_SIZE_MAX);
    int rc = dbk_views_kept(views, view, &row, &kept, err);
    if (rc == DBK_OK && kept.stored)
        rc = view->home->file(&view->definition, true, &arena, &text, err);
    (void)pthread_mutex_lock(&views->mutex);
    if (rc == DBK_OK && text.size > 0 && strcmp(kept.fingerprint, view->file->fingerprint) != 0)
        rc = make_form(views, view, text, &form, err);
    (void)pthread_mutex_unlock(&views->mutex);
    dbk_arena_release(&arena);
    return rc;
}

static int roll_back(struct dbk_views *views, struct dbk_view *view, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = try_form(views, view, err);
    if (rc < 0)
        return rc;
    rc = view->home->roll_back(&view->definition, views->os->now_us(views->os), &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "view %s: %s", view->definition.name, failure.message);
    (void)pthread_mutex_lock(&views->mutex);
    view->settled = false;
    view->runs++; /* Who has read its row before does not keep that. */
    view->row_us = 0;
    view->turn.seen = 0;
    view->outcome = (struct dbk_error){0};
    view->result = view->outcome;
    view->failed = false;
    (void)pthread_mutex_unlock(&views->mutex);
    rc = renew_session(view, err);
    return rc < 0 ? rc : dbk_view_settle_form(views, view, err);
}

int dbk_views_roll_back(struct dbk_views *views, const char *name, struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_views_find(views, name, &index, err);
    if (rc < 0)
        return rc;
    struct dbk_view *view = &views->views[index];
    dbk_view_claim(views, view);
    rc = roll_back(views, view, err);
    dbk_view_unclaim(views, view);
    return rc;
}

int dbk_view_drop_kept(struct dbk_views *views, struct dbk_view *view, int64_t before_us,
                       struct dbk_error *err)
{
    int rc = view->home->drop_kept(&view->definition, before_us, err);
    (void)pthread_mutex_lock(&views->mutex);
    view->kept.stored = false;
    view->row_us = 0;
    (void)pthread_mutex_unlock(&views->mutex);
    return rc;
}

int dbk_views_forget_kept(struct dbk_views *views, const char *name, struct dbk_error *err)
{
    size_t index = 0;
    struct dbk_error failure = {0};
    int rc = dbk_views_find(views, name, &index, err);
    if (rc < 0)
        return rc;
    struct dbk_view *view = &views->views[index];
    rc = dbk_view_drop_kept(views, view, INT64_MAX, &failure);
    return rc < 0 ? dbk_error_set(err, rc, "view %s: %s", name, failure.message) : rc;
}
