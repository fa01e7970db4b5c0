/* SPDX-License-Identifier: Apache-2.0 */
#include "vault/copies.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "vault/erased.h"
#include "vault/state.h"
#include "vault/subjects.h"

#define REMEMBERED_NAME "backups"
#define REMEMBERED_SIZE_MAX ((size_t)1 << 20)
#define LIST_SIZE_MAX ((size_t)8 << 30)

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory copying the list of erased keys");
}

/* ---- Copying ---- */

static int copy_list(struct dbk_os *os, const char *from, const char *folder, struct dbk_error *err)
{
    struct dbk_buf bytes;
    char *to = dbk_keys_path(folder, DBK_ERASED_NAME);
    dbk_buf_init(&bytes, LIST_SIZE_MAX);
    int rc = to == NULL ? no_memory(err) : dbk_os_read_file(os, from, LIST_SIZE_MAX, &bytes, err);
    if (rc == DBK_OK)
        rc = dbk_os_replace_file(os, to, dbk_buf_slice(&bytes), err);
    dbk_buf_release(&bytes);
    dbk_free(to);
    return rc;
}

static int read_remembered(struct dbk_os *os, const char *path, struct dbk_buf *out,
                           struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_os_read_file(os, path, REMEMBERED_SIZE_MAX, out, &failure);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc < 0 && err != NULL)
        *err = failure;
    return rc;
}

/* The next line; false: there is none. */
static bool next_line(struct dbk_slice *left, struct dbk_slice *line_out)
{
    const char *end = left->size == 0 ? NULL : memchr(left->data, '\n', left->size);
    if (end == NULL)
        return false;
    *line_out = dbk_slice(left->data, (size_t)(end - left->data));
    *left = dbk_slice(end + 1, left->size - line_out->size - 1);
    return true;
}

static int remember(struct dbk_os *os, const char *data, const char *backup, struct dbk_error *err)
{
    struct dbk_buf lines;
    struct dbk_slice line;
    bool known = false;
    char *path = dbk_keys_path(data, REMEMBERED_NAME);
    dbk_buf_init(&lines, REMEMBERED_SIZE_MAX);
    int rc = path == NULL ? no_memory(err) : read_remembered(os, path, &lines, err);
    struct dbk_slice left = dbk_buf_slice(&lines);
    while (!known && next_line(&left, &line))
        known = dbk_slice_equal_text(line, backup);
    if (rc == DBK_OK && !known) {
        dbk_buf_append_text(&lines, backup);
        dbk_buf_append_char(&lines, '\n');
        rc = lines.rc < 0 ? no_memory(err)
                          : dbk_os_replace_file(os, path, dbk_buf_slice(&lines), err);
    }
    dbk_buf_release(&lines);
    dbk_free(path);
    return rc;
}

int dbk_erased_copy(struct dbk_os *os, const char *data, const char *backup, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    char *from = dbk_keys_path(data, DBK_KEYS_FOLDER "/" DBK_ERASED_NAME);
    int rc = from == NULL ? no_memory(&failure) : copy_list(os, from, backup, &failure);
    dbk_free(from);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc == DBK_OK)
        return remember(os, data, backup, err);
    if (err != NULL)
        *err = failure;
    return rc;
}

int dbk_erased_copy_all(struct dbk_os *os, const char *data, dbk_copy_failed_fn failed,
                        void *context)
{
    struct dbk_buf lines;
    struct dbk_slice line;
    char *path = dbk_keys_path(data, REMEMBERED_NAME);
    char *from = dbk_keys_path(data, DBK_KEYS_FOLDER "/" DBK_ERASED_NAME);
    dbk_buf_init(&lines, REMEMBERED_SIZE_MAX);
    int rc = path == NULL || from == NULL ? DBK_ENOMEM : read_remembered(os, path, &lines, NULL);
    struct dbk_slice left = dbk_buf_slice(&lines);
    while (rc != DBK_ENOMEM && next_line(&left, &line)) {
        struct dbk_error err = {0};
        char *folder = dbk_copy_text(line);
        int copy_rc = folder == NULL ? no_memory(&err) : copy_list(os, from, folder, &err);
        if (copy_rc < 0 && failed != NULL)
            failed(context, folder == NULL ? "a backup" : folder, &err);
        rc = rc < 0 ? rc : copy_rc;
        dbk_free(folder);
    }
    dbk_buf_release(&lines);
    dbk_free(path);
    dbk_free(from);
    return rc;
}

/* ---- Restoring ---- */

/* A list that must be whole. */
static int read_whole(struct dbk_os *os, const char *path, const struct dbk_uuid *book_id,
                      struct dbk_erased *list, struct dbk_error *err)
{
    struct dbk_buf bytes;
    dbk_buf_init(&bytes, LIST_SIZE_MAX);
    int rc = dbk_os_read_file(os, path, LIST_SIZE_MAX, &bytes, err);
    if (rc == DBK_OK)
        rc = dbk_erased_parse(dbk_buf_slice(&bytes), path, NULL, book_id, list, err);
    dbk_buf_release(&bytes);
    return rc;
}

static int install(struct dbk_os *os, const char *data, const char *from, struct dbk_error *err)
{
    char *folder = dbk_keys_path(data, DBK_KEYS_FOLDER);
    int rc = folder == NULL ? no_memory(err) : dbk_os_make_folder(os, folder, err);
    if (rc == DBK_OK)
        rc = os->protect(os, folder, err);
    if (rc == DBK_OK)
        rc = copy_list(os, from, folder, err);
    dbk_free(folder);
    return rc;
}

/* The lists that a restore has: the backup's, and the one that was given. */
struct lists {
    char *path; /* of the backup's */
    struct dbk_erased own;
    struct dbk_erased given;
    const char *from; /* the newer one; NULL: there is none */
};

static void release_lists(struct lists *lists)
{
    dbk_erased_release(&lists->own);
    dbk_erased_release(&lists->given);
    dbk_free(lists->path);
}

static int read_lists(struct dbk_os *os, const char *backup, const char *file,
                      const struct dbk_uuid *book_id, struct lists *lists, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    lists->path = dbk_keys_path(backup, DBK_ERASED_NAME);
    if (lists->path == NULL)
        return no_memory(err);
    int rc = read_whole(os, lists->path, book_id, &lists->own, &failure);
    if (rc < 0 && rc != DBK_ENOTFOUND) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    lists->from = rc == DBK_OK ? lists->path : file;
    if (file == NULL)
        return DBK_OK;
    rc = read_whole(os, file, book_id, &lists->given, err);
    if (rc == DBK_OK)
        rc = dbk_erased_compare(&lists->own, &lists->given, err);
    if (lists->given.ids.count > lists->own.ids.count)
        lists->from = file;
    return rc;
}

int dbk_erased_check_restore(struct dbk_os *os, const char *backup, const char *file,
                             const struct dbk_uuid *book_id, struct dbk_error *err)
{
    struct lists lists = {0};
    int rc = read_lists(os, backup, file, book_id, &lists, err);
    release_lists(&lists);
    return rc;
}

/* What the log says of the lists. */
static int check_lists(const struct lists *lists, const struct dbk_vault *log,
                       struct dbk_error *err)
{
    if (lists->from != NULL)
        return dbk_erased_check_covers(lists->from == lists->path ? &lists->own : &lists->given,
                                       lists->from, log->erased.items, log->erased.count, err);
    return log->log_epoch == 0
               ? DBK_OK
               : dbk_error_set(err, DBK_ENOTFOUND,
                               "this book has subjects, and %s is missing: without the newest list "
                               "a forgotten key could come back; restore again, with --erased-list "
                               "FILE",
                               lists->path);
}

int dbk_erased_restore(struct dbk_store *store, struct dbk_os *os, const char *data,
                       const char *backup, const char *file, struct dbk_error *err)
{
    struct dbk_vault log = {.store = store};
    struct lists lists = {0};
    int rc = dbk_vault_read_log(&log, err);
    if (rc == DBK_OK)
        rc = read_lists(os, backup, file, dbk_store_book_id(store), &lists, err);
    if (rc == DBK_OK)
        rc = check_lists(&lists, &log, err);
    if (rc == DBK_OK && lists.from != NULL)
        rc = install(os, data, lists.from, err);
    release_lists(&lists);
    dbk_ids_release(&log.erased);
    dbk_ids_release(&log.tombstoned);
    return rc;
}
