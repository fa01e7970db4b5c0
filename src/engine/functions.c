/* SPDX-License-Identifier: Apache-2.0 */
/* The folds and upcasters in C of include/daybook.h. */
#include "engine/library.h"

struct dbk_library_fold {
    struct dbk_library_fold *next;
    struct daybook_fold fold;
};

/* A program's state; its functions make a new one where a fold begins again. */
struct state {
    void *own;
};

void daybook_write(struct daybook_text *text, const void *bytes, size_t size)
{
    dbk_buf_append(text->out, dbk_slice(bytes, size));
}

static int out_of_memory(const struct daybook_fold *fold, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory: fold %s", fold->category);
}

static int failed(const struct daybook_fold *fold, const char *what, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ESCRIPT, "fold %s (%s): %s failed", fold->category, fold->version,
                         what);
}

static void destroy(void *context, void *state)
{
    const struct daybook_fold *fold = context;
    struct state *of = state;
    if (of->own != NULL)
        fold->destroy(of->own, fold->context);
    dbk_free(of);
}

static int create(void *context, void **state_out, struct dbk_error *err)
{
    struct state *of = dbk_alloc_zero(1, sizeof(*of));
    if (of == NULL)
        return out_of_memory(context, err);
    *state_out = of;
    return DBK_OK;
}

static int reset(void *context, void *state, struct dbk_error *err)
{
    const struct daybook_fold *fold = context;
    struct state *of = state;
    if (of->own != NULL)
        fold->destroy(of->own, fold->context);
    of->own = fold->create(fold->context);
    return of->own == NULL ? out_of_memory(fold, err) : DBK_OK;
}

static int apply(void *context, void *state, struct dbk_lazy *event, struct dbk_error *err)
{
    const struct daybook_fold *fold = context;
    struct state *of = state;
    struct daybook_event given = dbk_library_event(event);
    return fold->apply(of->own, &given, fold->context) == 0 ? DBK_OK : failed(fold, "apply", err);
}

static int write_state(void *context, void *state, struct dbk_buf *out, struct dbk_error *err)
{
    const struct daybook_fold *fold = context;
    const struct state *of = state;
    struct daybook_text text = {out};
    if (fold->write(of->own, &text, fold->context) != 0)
        return failed(fold, "write", err);
    return out->rc == DBK_ENOMEM ? out_of_memory(fold, err) : out->rc;
}

static int read_state(void *context, void *state, struct dbk_slice text, struct dbk_error *err)
{
    const struct daybook_fold *fold = context;
    struct state *of = state;
    int rc = reset(context, state, err);
    if (rc == DBK_OK && fold->read(of->own, text.data, text.size, fold->context) != 0)
        rc = failed(fold, "read", err);
    return rc;
}

static int keep(struct daybook *book, const struct daybook_fold *fold,
                struct dbk_library_fold **kept_out)
{
    struct dbk_library_fold *kept = dbk_alloc_zero(1, sizeof(*kept));
    if (kept == NULL)
        return DBK_ENOMEM;
    kept->fold = *fold;
    kept->fold.category = dbk_copy_text(dbk_slice_of(fold->category));
    kept->fold.version = dbk_copy_text(dbk_slice_of(fold->version));
    kept->next = book->folds;
    book->folds = kept;
    *kept_out = kept;
    return kept->fold.category == NULL || kept->fold.version == NULL ? DBK_ENOMEM : DBK_OK;
}

int daybook_fold_add(struct daybook *book, const struct daybook_fold *fold,
                     struct daybook_error *error)
{
    struct dbk_error err = {0};
    struct dbk_library_fold *kept = NULL;
    if (book == NULL || fold == NULL || fold->category == NULL || fold->version == NULL ||
        fold->create == NULL || fold->destroy == NULL || fold->apply == NULL ||
        fold->write == NULL || (fold->read == NULL && fold->snapshot_every > 0))
        return dbk_library_wrong(error,
                                 "daybook_fold_add: a book, and a fold with category, version "
                                 "and functions are needed; `read` with snapshots");
    int rc = keep(book, fold, &kept);
    if (rc == DBK_OK)
        rc = dbk_engine_add_fold(book->engine, dbk_slice_of(fold->category),
                                 dbk_slice_of(fold->version), fold->snapshot_every,
                                 &(struct dbk_fold_functions){.context = &kept->fold,
                                                              .create = create,
                                                              .destroy = destroy,
                                                              .reset = reset,
                                                              .apply_lazy = apply,
                                                              .write = write_state,
                                                              .read = read_state},
                                 &err);
    return rc < 0 ? dbk_library_fail(error, rc, &err) : DBK_OK;
}

void dbk_library_free_folds(struct daybook *book)
{
    for (struct dbk_library_fold *fold = book->folds, *next; fold != NULL; fold = next) {
        next = fold->next;
        dbk_free((void *)(uintptr_t)fold->fold.category);
        dbk_free((void *)(uintptr_t)fold->fold.version);
        dbk_free(fold);
    }
}

/* ---- Upcasters ---- */

static int upcast(void *context, const struct dbk_event *event, struct dbk_buf *out,
                  struct dbk_error *err)
{
    const struct daybook_upcaster *upcaster = context;
    struct dbk_lazy lazy = {.event = *event};
    struct daybook_event given = dbk_library_event(&lazy);
    struct daybook_text text = {out};
    return upcaster->upcast(&given, &text, upcaster->context) == 0
               ? DBK_OK
               : dbk_error_set(err, DBK_ESCRIPT, "the program's upcaster (%s) failed",
                               upcaster->definition);
}

int dbk_library_take_upcasters(struct daybook *book, const struct daybook_upcaster *upcasters,
                               size_t count, struct dbk_upcast_function **functions_out)
{
    struct dbk_upcast_function *functions = dbk_alloc_zero(count + 1, sizeof(*functions));
    book->upcasters = dbk_alloc_zero(count + 1, sizeof(*book->upcasters));
    *functions_out = functions;
    if (functions == NULL || book->upcasters == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct daybook_upcaster *kept = &book->upcasters[book->upcaster_count++];
        *kept = upcasters[i];
        kept->type = dbk_copy_text(dbk_slice_of(upcasters[i].type));
        kept->definition = dbk_copy_text(dbk_slice_of(upcasters[i].definition));
        if (kept->type == NULL || kept->definition == NULL)
            return DBK_ENOMEM;
        functions[i] = (struct dbk_upcast_function){.type = dbk_slice_of(kept->type),
                                                    .version = kept->version,
                                                    .definition = dbk_slice_of(kept->definition),
                                                    .context = kept,
                                                    .upcast = upcast};
    }
    return DBK_OK;
}

void dbk_library_free_upcasters(struct daybook *book)
{
    for (size_t i = 0; i < book->upcaster_count; i++) {
        dbk_free((void *)(uintptr_t)book->upcasters[i].type);
        dbk_free((void *)(uintptr_t)book->upcasters[i].definition);
    }
    dbk_free(book->upcasters);
}
