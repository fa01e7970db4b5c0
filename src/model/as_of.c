/* SPDX-License-Identifier: Apache-2.0 */
#include "model/as_of.h"

#include <stdio.h>
#include <time.h>

#include "model/as_of_file.h"
#include "model/state.h"

/* How often it is looked whether another build is over. */
#define LOOK_US 50000

struct build {
    const struct dbk_as_of_options *options;
    struct dbk_model *model;
    struct dbk_as_of_mark mark; /* what is asked for */
    char path[DBK_AS_OF_PATH_SIZE];
    struct dbk_file lock;
    struct dbk_generation generation;
    struct dbk_batch_post post;
    struct dbk_letters *letters; /* in the file alone */
    uint64_t begun;
    uint64_t left_out;
};

int dbk_models_as_of_position(struct dbk_store *store, const struct dbk_as_of_time *time,
                              uint64_t *position_out, struct dbk_error *err)
{
    if (!time->occurred)
        return dbk_store_position_at(store, time->time_us, position_out, err);
    *position_out = dbk_store_last_position(store);
    return DBK_OK;
}

static int find_path(struct build *build, struct dbk_error *err)
{
    const char *file = build->options->file;
    if (file == NULL)
        return dbk_as_of_path(build->options->folder, &build->mark, build->path, err);
    if (snprintf(build->path, sizeof(build->path), "%s", file) >= (int)sizeof(build->path))
        return dbk_error_set(err, DBK_ELIMIT, "the file's name is past %zu bytes",
                             sizeof(build->path) - 1);
    return DBK_OK;
}

static int begin(struct build *build, struct dbk_models *models, struct dbk_error *err)
{
    size_t index = 0;
    struct dbk_as_of_mark *mark = &build->mark;
    int rc = dbk_models_find(models, build->options->model, &index, err);
    if (rc < 0)
        return rc;
    build->model = models->items[index];
    if (!dbk_dialect_is_sql(dbk_target_dialect(build->model->definition.database_path)))
        return dbk_error_set(
            err, DBK_EINVAL,
            "model %s: its handlers are no SQL, and what it was is built in SQLite",
            build->model->definition.name);
    mark->time = build->options->time;
    dbk_uuid_format(dbk_store_book_id(models->store), mark->book);
    (void)snprintf(mark->model, sizeof(mark->model), "%s", build->model->definition.name);
    (void)snprintf(mark->fingerprint, sizeof(mark->fingerprint), "%s", build->model->fingerprint);
    rc = dbk_models_as_of_position(models->store, &mark->time, &mark->target, err);
    uint64_t end = build->options->position_max;
    mark->target = end != 0 && end < mark->target ? end : mark->target;
    return rc < 0 ? rc : find_path(build, err);
}

/* 1: it is there and whole; 0: it has to be built. Looked at without the lock. */
static int look(struct build *build)
{
    struct dbk_connection *connection = NULL;
    struct dbk_as_of_mark there;
    int rc = dbk_connection_open(build->path, DBK_CONNECT_READ, &connection, NULL);
    if (rc == DBK_OK)
        rc = dbk_as_of_mark_read(connection, &there, NULL);
    int64_t generations = 0;
    if (rc == 1)
        rc = dbk_generation_integer(connection, &generations, NULL,
                                    "SELECT count(*) FROM _daybook_models WHERE serving") < 0
                 ? 0
                 : 1;
    int64_t letters = 0; /* a file of before there were letters has none */
    if (rc == 1 && dbk_generation_integer(connection, &letters, NULL,
                                          "SELECT count(*) FROM _daybook_letters") == DBK_OK)
        build->left_out = (uint64_t)letters;
    dbk_connection_free(connection);
    if (rc != 1 || generations != 1 || !dbk_as_of_mark_same(&there, &build->mark) ||
        there.position < build->mark.target)
        return 0;
    build->begun = build->post.position = there.position;
    return 1;
}

static bool goes_on(const struct build *build, uint64_t done)
{
    const struct dbk_as_of_options *options = build->options;
    return options->progress == NULL ||
           options->progress(options->context, done, build->mark.target);
}

static int take_lock(struct build *build, struct dbk_error *err)
{
    const struct dbk_as_of_options *options = build->options;
    int rc = options->os->make_folder(options->os, options->folder, err);
    if (rc < 0)
        return rc;
    while ((rc = dbk_as_of_lock(options->os, options->folder, &build->lock, err)) == DBK_EBUSY) {
        if (!goes_on(build, 0))
            return dbk_error_set(err, DBK_ESTOPPED,
                                 "model %s: ended while another one was being built",
                                 options->model);
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_US * 1000}, NULL);
    }
    return rc;
}

/* 1: ours, or empty; DBK_EEXISTS: something else, which is left as it is. */
static int check_there(struct build *build, struct dbk_error *err)
{
    struct dbk_as_of_mark there = {0};
    struct dbk_error failure = {0};
    int rc = dbk_connection_open(build->path, DBK_CONNECT_READ, &build->post.connection, &failure);
    if (rc == DBK_ENOTFOUND)
        return 1;
    if (rc == DBK_OK)
        rc = dbk_as_of_mark_read(build->post.connection, &there, &failure);
    dbk_connection_free(build->post.connection);
    build->post.connection = NULL;
    if (rc == 1 && !dbk_as_of_mark_same(&there, &build->mark))
        rc = dbk_error_set(&failure, DBK_EEXISTS,
                           "it holds model %s of another time, definition or book", there.model);
    if (rc < 0)
        return dbk_error_set(err, rc == DBK_ECORRUPT ? DBK_EEXISTS : rc, "%s is there already: %s",
                             build->path, failure.message);
    return 1;
}

/* In the folder nothing else has a right to the name: damage is built anew, and so is what was
   killed in its very first transaction, which a reader may not take back. */
static int make_room(struct build *build, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = check_there(build, &failure);
    if ((rc == DBK_EEXISTS || rc == DBK_EDENIED) && build->options->file == NULL)
        return dbk_as_of_erase(build->options->os, build->path, err);
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc < 0 ? rc : DBK_OK;
}

static int find_or_create(struct build *build, struct dbk_error *err)
{
    struct dbk_model_definition definition = build->model->definition;
    struct dbk_connection *connection = build->post.connection;
    definition.database_path = build->path;
    int rc = dbk_as_of_mark_write(connection, &build->mark, err);
    if (rc == DBK_OK)
        rc = dbk_generation_find(connection, &definition, true, &build->generation, err);
    if (rc < 0 || build->generation.number != 0)
        return rc;
    rc = dbk_generation_create(connection, &definition, 1, true, 0, err);
    return rc < 0 ? rc
                  : dbk_generation_find(connection, &definition, true, &build->generation, err);
}

/* What is set aside is noted in the file, beside the rows that it is not among. */
static int open_letters(struct build *build, struct dbk_error *err)
{
    struct dbk_batch_post *post = &build->post;
    int rc = dbk_letters_create(build->model, &build->letters, err);
    if (rc < 0)
        return rc;
    build->letters->append = NULL;
    build->letters->owed = NULL;
    post->models = build->model->models;
    post->definition = &build->generation.definition;
    post->letters = build->letters;
    post->position_max = build->mark.target;
    return dbk_letters_open(build->letters, &build->generation, post->connection, err);
}

static int prepare(struct build *build, struct dbk_error *err)
{
    struct dbk_batch_post *post = &build->post;
    struct dbk_generation *generation = &build->generation;
    int rc = make_room(build, err);
    if (rc == DBK_OK)
        rc = dbk_connection_open(build->path, DBK_CONNECT_HANDLERS, &post->connection, err);
    if (rc == DBK_OK) {
        dbk_connection_limit_us(post->connection, DBK_POST_LIMIT_US);
        rc = find_or_create(build, err);
    }
    if (rc == DBK_OK)
        rc = dbk_poster_open(post->connection, &generation->definition, generation->renames,
                             generation->object_count, &post->poster, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_poster_read_by(post->poster, build->model->models->store,
                                build->model->models->folds,
                                post->occurred_max_us == NULL ? 0 : *post->occurred_max_us, err);
    if (rc == DBK_OK)
        rc = open_letters(build, err);
    if (rc == DBK_OK)
        rc = dbk_post_set_position(post->connection, build->mark.model, generation->number,
                                   &post->set_position, err);
    build->begun = post->position = generation->position;
    return rc;
}

static int post_all(struct build *build, struct dbk_error *err)
{
    struct dbk_batch_post *post = &build->post;
    uint64_t target = build->mark.target;
    if (post->position >= target)
        return DBK_OK; /* a filter's end of 0 would mean none */
    int rc = dbk_post_cursor(build->model->models->store, &build->generation.definition,
                             post->position, target, &post->cursor, err);
    for (bool more = rc == DBK_OK; more;) {
        bool failed = false;
        rc = dbk_post_batch(post, &failed, err);
        more = rc == 1;
        if (rc >= 0 && !goes_on(build, post->position))
            return dbk_error_set(err, DBK_ESTOPPED,
                                 "model %s: the build was ended at position %ju of %ju; the next "
                                 "one goes on there",
                                 build->mark.model, (uintmax_t)post->position, (uintmax_t)target);
    }
    return rc;
}

/* One file, without a log beside it. While it is being read it stays as it is. */
static void settle(struct build *build)
{
    dbk_statement_free(build->post.set_position);
    dbk_poster_free(build->post.poster);
    build->post.set_position = NULL;
    build->post.poster = NULL;
    dbk_ignore(dbk_connection_run(build->post.connection, "PRAGMA journal_mode = DELETE", NULL));
}

static int run(struct build *build, struct dbk_error *err)
{
    int rc = take_lock(build, err);
    if (rc < 0 || look(build) == 1)
        return rc; /* another build may just have made it */
    rc = prepare(build, err);
    if (rc == DBK_OK)
        rc = post_all(build, err);
    if (rc == DBK_OK)
        build->left_out = dbk_letters_waiting(build->letters);
    if (rc == DBK_OK)
        settle(build);
    return rc;
}

static int time_of(struct dbk_store *store, uint64_t position, int64_t *time_us_out,
                   struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    *time_us_out = DBK_TIME_NONE;
    if (position == 0)
        return DBK_OK;
    int rc = dbk_cursor_open(store,
                             &(struct dbk_filter){.position_min = position,
                                                  .position_max = position,
                                                  .raw = true,
                                                  .hidden = true,
                                                  .removed = true},
                             &cursor, err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc == 1)
        *time_us_out = event.time_us;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

static void close_build(struct build *build)
{
    dbk_cursor_free(build->post.cursor);
    dbk_poster_free(build->post.poster);
    dbk_statement_free(build->post.set_position);
    dbk_connection_free(build->post.connection);
    dbk_letters_free(build->letters);
    dbk_generation_release(&build->generation);
    build->options->os->close(build->options->os, &build->lock);
}

int dbk_models_as_of(struct dbk_models *models, const struct dbk_as_of_options *options,
                     struct dbk_as_of *as_of_out, struct dbk_error *err)
{
    struct build build = {
        .options = options, .lock = DBK_FILE_CLOSED, .post = {.model = options->model}};
    dbk_generation_init(&build.generation);
    if (options->time.occurred)
        build.post.occurred_max_us = &options->time.time_us;
    int64_t time_us = DBK_TIME_NONE;
    int rc = begin(&build, models, err);
    bool found = rc == DBK_OK && look(&build) == 1;
    if (rc == DBK_OK && !found)
        rc = run(&build, err);
    if (rc == DBK_OK)
        rc = time_of(models->store, build.post.position, &time_us, err);
    if (rc == DBK_OK) {
        (void)snprintf(as_of_out->file, sizeof(as_of_out->file), "%s", build.path);
        as_of_out->position = build.post.position;
        as_of_out->position_time_us = time_us;
        as_of_out->begun = build.begun;
        as_of_out->letters = build.left_out;
        as_of_out->found = found || build.generation.number == 0;
    }
    close_build(&build);
    return rc;
}
