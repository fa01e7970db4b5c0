/* SPDX-License-Identifier: Apache-2.0 */
#include "model/as_of_file.h"

#include <stdio.h>

#include "model/generation.h"
#include "model/state.h"

#define SUFFIX ".db"
/* As many digits of a definition's fingerprint as tell two of a model apart. */
#define FINGERPRINT_DIGITS 12

static void take_text(struct dbk_statement *statement, int column, char *text_out, size_t size)
{
    struct dbk_value value = dbk_statement_column(statement, column);
    bool text = value.kind == DBK_VALUE_TEXT;
    (void)snprintf(text_out, size, "%.*s", text ? (int)value.bytes.size : 0,
                   text ? value.bytes.data : "");
}

static int read_row(struct dbk_connection *connection, struct dbk_as_of_mark *mark,
                    struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(
        connection,
        DBK_SLICE_LITERAL("SELECT book, model, fingerprint, occurred, time, target, "
                          "ifnull((SELECT max(m.position) FROM _daybook_models m "
                          "WHERE m.model = a.model), 0) FROM _daybook_as_of a"),
        &statement, NULL, err);
    if (rc == DBK_OK)
        rc = dbk_statement_step(statement, err);
    if (rc == 1) {
        take_text(statement, 0, mark->book, sizeof(mark->book));
        take_text(statement, 1, mark->model, sizeof(mark->model));
        take_text(statement, 2, mark->fingerprint, sizeof(mark->fingerprint));
        mark->time.occurred = dbk_statement_column(statement, 3).integer != 0;
        mark->time.time_us = dbk_statement_column(statement, 4).integer;
        mark->target = (uint64_t)dbk_statement_column(statement, 5).integer;
        mark->position = (uint64_t)dbk_statement_column(statement, 6).integer;
    }
    dbk_statement_free(statement);
    return rc;
}

int dbk_as_of_mark_read(struct dbk_connection *connection, struct dbk_as_of_mark *mark_out,
                        struct dbk_error *err)
{
    int64_t objects = 0;
    int64_t own = 0;
    int64_t view = 0;
    int rc =
        dbk_generation_integer(connection, &objects, err, "SELECT count(*) FROM sqlite_schema");
    if (rc == DBK_OK)
        rc = dbk_generation_integer(connection, &own, err,
                                    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND "
                                    "name IN ('_daybook_as_of', '_daybook_models')");
    if (rc == DBK_OK)
        rc = dbk_generation_integer(connection, &view, err,
                                    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND "
                                    "name = '_daybook_views'");
    if (rc < 0 || objects == 0)
        return rc;
    *mark_out = (struct dbk_as_of_mark){.view = view != 0};
    if (own == 2)
        rc = read_row(connection, mark_out, err);
    return own == 2 && rc != 0 ? rc
                               : dbk_error_set(err, DBK_EEXISTS,
                                               "it holds something else than a model as of a "
                                               "time");
}

static int write_row(struct dbk_connection *connection, const struct dbk_as_of_mark *mark,
                     struct dbk_error *err)
{
    struct dbk_statement *statement = NULL;
    int rc = dbk_statement_open(connection,
                                DBK_SLICE_LITERAL("REPLACE INTO _daybook_as_of (id, book, model, "
                                                  "fingerprint, occurred, time, target) "
                                                  "VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)"),
                                &statement, NULL, err);
    if (rc < 0)
        return rc;
    struct dbk_value values[] = {
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(mark->book)},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(mark->model)},
        {.kind = DBK_VALUE_TEXT, .bytes = dbk_slice_of(mark->fingerprint)},
        {.kind = DBK_VALUE_INTEGER, .integer = mark->time.occurred},
        {.kind = DBK_VALUE_INTEGER, .integer = mark->time.time_us},
        {.kind = DBK_VALUE_INTEGER, .integer = (int64_t)mark->target},
    };
    for (int i = 0; i < 6; i++)
        dbk_statement_bind(statement, i + 1, &values[i]);
    rc = dbk_statement_step(statement, err);
    dbk_statement_free(statement);
    return rc;
}

int dbk_as_of_mark_put(struct dbk_connection *connection, const struct dbk_as_of_mark *mark,
                       struct dbk_error *err)
{
    int rc = dbk_generation_catalog(connection, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection,
                                "CREATE TABLE IF NOT EXISTS _daybook_as_of (id INTEGER PRIMARY "
                                "KEY, book TEXT NOT NULL, model TEXT NOT NULL, fingerprint TEXT "
                                "NOT NULL, occurred INTEGER NOT NULL, time INTEGER NOT NULL, "
                                "target INTEGER NOT NULL)",
                                err);
    return rc == DBK_OK ? write_row(connection, mark, err) : rc;
}

int dbk_as_of_mark_write(struct dbk_connection *connection, const struct dbk_as_of_mark *mark,
                         struct dbk_error *err)
{
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = dbk_as_of_mark_put(connection, mark, err);
    if (rc == DBK_OK)
        rc = dbk_connection_run(connection, "COMMIT", err);
    if (rc < 0 && dbk_connection_in_transaction(connection))
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

bool dbk_as_of_mark_same(const struct dbk_as_of_mark *a, const struct dbk_as_of_mark *b)
{
    return a->view == b->view && strcmp(a->book, b->book) == 0 && strcmp(a->model, b->model) == 0 &&
           strcmp(a->fingerprint, b->fingerprint) == 0 && a->time.occurred == b->time.occurred &&
           (a->time.occurred ? a->time.time_us == b->time.time_us : a->target == b->target);
}

/* An instant without colons, which some file systems refuse. */
static void name_time(int64_t time_us, char text[DBK_TIME_TEXT_SIZE])
{
    size_t size = 0;
    (void)dbk_time_format(time_us, text);
    for (const char *at = text; *at != 0; at++) {
        if (*at != ':')
            text[size++] = *at;
    }
    text[size] = 0;
}

int dbk_as_of_path(const char *folder, const struct dbk_as_of_mark *mark,
                   char path_out[DBK_AS_OF_PATH_SIZE], struct dbk_error *err)
{
    char when[64];
    char time[DBK_TIME_TEXT_SIZE];
    name_time(mark->time.time_us, time);
    if (mark->time.occurred)
        (void)snprintf(when, sizeof(when), "occurred-%s", time);
    else
        (void)snprintf(when, sizeof(when), "at-%ju", (uintmax_t)mark->target);
    int size =
        snprintf(path_out, DBK_AS_OF_PATH_SIZE, "%s/%s-%s%s-%.*s" SUFFIX, folder, mark->model,
                 mark->view ? "view-" : "", when, FINGERPRINT_DIGITS, mark->fingerprint);
    return size < DBK_AS_OF_PATH_SIZE
               ? DBK_OK
               : dbk_error_set(err, DBK_ELIMIT, "a file in %s would have a name past %d bytes",
                               folder, DBK_AS_OF_PATH_SIZE - 1);
}

int dbk_as_of_lock(struct dbk_os *os, const char *folder, struct dbk_file *file_out,
                   struct dbk_error *err)
{
    char path[DBK_AS_OF_PATH_SIZE];
    struct dbk_file file = DBK_FILE_CLOSED;
    if (snprintf(path, sizeof(path), "%s/lock", folder) >= (int)sizeof(path))
        return dbk_error_set(err, DBK_ELIMIT, "%s: the name is too long", folder);
    int rc = os->open(os, path, DBK_OS_WRITE | DBK_OS_CREATE, &file, err);
    if (rc == DBK_OK)
        rc = os->lock(os, &file, NULL);
    if (rc == DBK_EBUSY)
        (void)dbk_error_set(err, rc, "a model as of a time is being built in %s", folder);
    else if (rc < 0)
        (void)dbk_error_set(err, rc, "%s cannot be locked", path);
    if (rc < 0)
        os->close(os, &file);
    else
        *file_out = file;
    return rc;
}

int dbk_as_of_erase(struct dbk_os *os, const char *path, struct dbk_error *err)
{
    static const char *const suffixes[] = {"-wal", "-shm", "-journal", ""};
    char name[DBK_AS_OF_PATH_SIZE + 16];
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        struct dbk_error failure = {0};
        (void)snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        rc = os->remove(os, name, &failure);
        if (rc == DBK_ENOTFOUND)
            rc = DBK_OK;
        else if (rc < 0 && err != NULL)
            *err = failure;
    }
    return rc;
}

/* ---- What there is ---- */

struct listing {
    struct dbk_models *models;
    struct dbk_os *os;
    const char *folder;
    dbk_as_of_each_fn each;
    void *context;
};

static bool is_current(struct dbk_models *models, const struct dbk_as_of_mark *mark)
{
    size_t index = 0;
    return dbk_models_find(models, mark->model, &index, NULL) == DBK_OK &&
           strcmp(models->items[index]->fingerprint, mark->fingerprint) == 0;
}

static uint64_t size_of(struct dbk_os *os, const char *path)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    uint64_t size = 0;
    if (os->open(os, path, DBK_OS_READ, &file, NULL) == DBK_OK)
        dbk_ignore(os->size(os, &file, &size, NULL));
    os->close(os, &file);
    return size;
}

static int list_one(const char *name, void *context)
{
    const struct listing *listing = context;
    char path[DBK_AS_OF_PATH_SIZE];
    struct dbk_connection *connection = NULL;
    struct dbk_as_of_mark mark = {0};
    size_t size = strlen(name);
    if (size < strlen(SUFFIX) || strcmp(name + size - strlen(SUFFIX), SUFFIX) != 0 ||
        snprintf(path, sizeof(path), "%s/%s", listing->folder, name) >= (int)sizeof(path))
        return DBK_OK;
    /* One that cannot be read is shown, too: without a model, as half built. */
    int rc = dbk_connection_open(path, DBK_CONNECT_READ, &connection, NULL);
    if (rc == DBK_OK)
        dbk_ignore(dbk_as_of_mark_read(connection, &mark, NULL));
    dbk_connection_free(connection);
    if (rc == DBK_ENOTFOUND || rc == DBK_ENOMEM)
        return rc == DBK_ENOMEM ? rc : DBK_OK;
    return listing->each(
        &(struct dbk_as_of_file){.name = name,
                                 .model = mark.model,
                                 .fingerprint = mark.fingerprint,
                                 .view = mark.view,
                                 .time = mark.time,
                                 .position = mark.position,
                                 .target = mark.target,
                                 .size = size_of(listing->os, path),
                                 .current = !mark.view && is_current(listing->models, &mark)},
        listing->context);
}

int dbk_models_as_of_list(struct dbk_models *models, struct dbk_os *os, const char *folder,
                          dbk_as_of_each_fn each, void *context, struct dbk_error *err)
{
    struct listing listing = {models, os, folder, each, context};
    struct dbk_error failure = {0};
    int rc = os->list(os, folder, list_one, &listing, &failure);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

/* ---- Removal ---- */

#define REMOVED_AT_ONCE 64

struct removing {
    const struct dbk_as_of_removal *removal;
    uint64_t position; /* of the time */
    size_t count;
    char names[REMOVED_AT_ONCE][256];
};

/* A folder is not changed while it is read: names are noted first. */
static int note(const struct dbk_as_of_file *file, void *context)
{
    struct removing *removing = context;
    const struct dbk_as_of_removal *removal = removing->removal;
    const struct dbk_as_of_time *time = removal->time;
    bool meant = removal->model == NULL || strcmp(removal->model, file->model) == 0;
    if (removal->kind != DBK_AS_OF_ANY)
        meant = meant && file->view == (removal->kind == DBK_AS_OF_VIEWS);
    if (time != NULL)
        meant = meant && time->occurred == file->time.occurred &&
                (time->occurred ? time->time_us == file->time.time_us
                                : removing->position == file->target);
    if (meant && removing->count < REMOVED_AT_ONCE && strlen(file->name) < 256)
        (void)snprintf(removing->names[removing->count++], 256, "%s", file->name);
    return DBK_OK;
}

static int remove_noted(const struct removing *removing, struct dbk_error *err)
{
    const struct dbk_as_of_removal *removal = removing->removal;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < removing->count; i++) {
        char path[DBK_AS_OF_PATH_SIZE];
        (void)snprintf(path, sizeof(path), "%s/%s", removal->folder, removing->names[i]);
        rc = dbk_as_of_erase(removal->os, path, err);
    }
    return rc;
}

int dbk_models_as_of_remove(struct dbk_models *models, const struct dbk_as_of_removal *removal,
                            uint64_t *count_out, struct dbk_error *err)
{
    struct dbk_file lock = DBK_FILE_CLOSED;
    struct removing removing = {.removal = removal};
    struct dbk_error failure = {0};
    int rc = removal->time == NULL
                 ? DBK_OK
                 : dbk_models_as_of_position(models->store, removal->time, &removing.position, err);
    if (rc < 0)
        return rc;
    *count_out = 0;
    rc = dbk_as_of_lock(removal->os, removal->folder, &lock, &failure);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK; /* there is no folder */
    if (rc < 0 && err != NULL)
        *err = failure;
    do {
        removing.count = 0;
        if (rc == DBK_OK)
            rc = dbk_models_as_of_list(models, removal->os, removal->folder, note, &removing, err);
        if (rc == DBK_OK)
            rc = remove_noted(&removing, err);
        *count_out += rc == DBK_OK ? removing.count : 0;
    } while (rc == DBK_OK && removing.count == REMOVED_AT_ONCE);
    removal->os->close(removal->os, &lock);
    return rc;
}
