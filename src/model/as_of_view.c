/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a view as of a time, among those of the models that it is made of. */
#include <stdio.h>
#include <time.h>

#include "model/as_of_file.h"
#include "model/state.h"

/* How often it is looked whether another build is over. */
#define LOOK_NS 50000000

struct dbk_as_of_view {
    const struct dbk_as_of_view_options *options;
    struct dbk_as_of_mark mark;
    char path[DBK_AS_OF_PATH_SIZE];
    struct dbk_file lock;
    struct dbk_connection *connection;
};

static int make_mark(struct dbk_models *models, const struct dbk_as_of_view_options *options,
                     struct dbk_as_of_mark *mark, char path[DBK_AS_OF_PATH_SIZE],
                     struct dbk_error *err)
{
    *mark = (struct dbk_as_of_mark){.view = true, .time = options->time, .target = options->target};
    dbk_uuid_format(dbk_store_book_id(models->store), mark->book);
    (void)snprintf(mark->model, sizeof(mark->model), "%s", options->view);
    (void)snprintf(mark->fingerprint, sizeof(mark->fingerprint), "%s", options->fingerprint);
    if (options->file == NULL)
        return dbk_as_of_path(options->folder, mark, path, err);
    if (snprintf(path, DBK_AS_OF_PATH_SIZE, "%s", options->file) >= DBK_AS_OF_PATH_SIZE)
        return dbk_error_set(err, DBK_ELIMIT, "the file's name is past %d bytes",
                             DBK_AS_OF_PATH_SIZE - 1);
    return DBK_OK;
}

/* 1: the mark's file is there and whole; 0: nothing or another one is, with what is wrong in err;
   negative: it is something else. */
static int look(const char *path, const struct dbk_as_of_mark *mark, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct dbk_as_of_mark there = {0};
    struct dbk_error failure = {0};
    int rc = dbk_connection_open(path, DBK_CONNECT_READ, &connection, &failure);
    if (rc == DBK_ENOTFOUND)
        return 0;
    if (rc == DBK_OK)
        rc = dbk_as_of_mark_read(connection, &there, &failure);
    dbk_connection_free(connection);
    if (rc == 1 && !dbk_as_of_mark_same(&there, mark))
        rc = dbk_error_set(&failure, DBK_EEXISTS, "it holds %s of another time, definition or book",
                           there.model);
    if (rc < 0)
        return dbk_error_set(err, rc == DBK_ECORRUPT ? DBK_EEXISTS : rc, "%s is there already: %s",
                             path, failure.message);
    return rc == 1 && there.position >= mark->target ? 1 : 0;
}

const char *dbk_models_fingerprint(struct dbk_models *models, const char *name)
{
    size_t index = 0;
    return dbk_models_find(models, name, &index, NULL) < 0 ? NULL
                                                           : models->items[index]->fingerprint;
}

int dbk_as_of_view_find(struct dbk_models *models, const struct dbk_as_of_view_options *options,
                        char path_out[DBK_AS_OF_PATH_SIZE], bool *found_out, struct dbk_error *err)
{
    struct dbk_as_of_mark mark;
    int rc = make_mark(models, options, &mark, path_out, err);
    if (rc < 0)
        return rc;
    rc = look(path_out, &mark, options->file == NULL ? NULL : err);
    *found_out = rc == 1;
    return rc < 0 && options->file != NULL ? rc : DBK_OK;
}

static int take_lock(struct dbk_as_of_view *view, struct dbk_error *err)
{
    const struct dbk_as_of_view_options *options = view->options;
    int rc = options->os->make_folder(options->os, options->folder, err);
    if (rc < 0)
        return rc;
    while ((rc = dbk_as_of_lock(options->os, options->folder, &view->lock, err)) == DBK_EBUSY) {
        if (options->progress != NULL && !options->progress(options->context, 0, 0))
            return dbk_error_set(err, DBK_ESTOPPED,
                                 "view %s: ended while something else was being built",
                                 options->view);
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return rc;
}

/* What is there is of fewer events, or damaged: another thing is left only where it was named. */
static int make_room(struct dbk_as_of_view *view, struct dbk_error *err)
{
    const struct dbk_as_of_view_options *options = view->options;
    int rc = look(view->path, &view->mark, options->file == NULL ? NULL : err);
    return rc < 0 && options->file != NULL ? rc : dbk_as_of_erase(options->os, view->path, err);
}

static void release(struct dbk_as_of_view *view)
{
    dbk_connection_free(view->connection);
    view->options->os->close(view->options->os, &view->lock);
    dbk_free(view);
}

int dbk_as_of_view_begin(struct dbk_models *models, const struct dbk_as_of_view_options *options,
                         struct dbk_as_of_view **view_out, struct dbk_error *err)
{
    struct dbk_as_of_view *view = dbk_alloc_zero(1, sizeof(*view));
    if (view == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    view->options = options;
    view->lock = DBK_FILE_CLOSED;
    int rc = make_mark(models, options, &view->mark, view->path, err);
    if (rc == DBK_OK)
        rc = take_lock(view, err);
    if (rc == DBK_OK)
        rc = make_room(view, err);
    if (rc == DBK_OK)
        rc = dbk_connection_open(view->path, 0, &view->connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(view->connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_as_of_mark_put(view->connection, &view->mark, err);
    if (rc < 0) {
        release(view);
        return rc;
    }
    *view_out = view;
    return DBK_OK;
}

struct dbk_connection *dbk_as_of_view_connection(struct dbk_as_of_view *view)
{
    return view->connection;
}

/* Where a model's file says how far it is, so does this one. */
static int write_position(struct dbk_as_of_view *view, struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    const struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(view->mark.model)},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)view->mark.target},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(view->mark.fingerprint)},
    };
    int rc = dbk_statement_open(view->connection,
                                DBK_SLICE_LITERAL("INSERT INTO _daybook_models (model, generation, "
                                                  "serving, position, fingerprint, definition) "
                                                  "VALUES (?1, 1, 1, ?2, ?3, '')"),
                                &statement, NULL, err);
    for (size_t i = 0; rc == DBK_OK && i < sizeof(values) / sizeof(values[0]); i++)
        dbk_statement_bind(statement, (int)i + 1, &values[i]);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_as_of_view_end(struct dbk_as_of_view *view, int rc, struct dbk_error *err)
{
    if (rc == DBK_OK)
        rc = write_position(view, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(view->connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(view->connection))
        dbk_ignore(dbk_connection_run(view->connection, "ROLLBACK", NULL));
    if (rc == DBK_OK) /* One file, without a log beside it. */
        dbk_ignore(dbk_connection_run(view->connection, "PRAGMA journal_mode = DELETE", NULL));
    dbk_connection_free(view->connection);
    view->connection = NULL;
    if (rc < 0)
        dbk_ignore(dbk_as_of_erase(view->options->os, view->path, NULL));
    release(view);
    return rc;
}
