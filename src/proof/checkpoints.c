/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/checkpoints.h"

#include <inttypes.h>
#include <stdio.h>

int dbk_checkpoints_init(struct dbk_checkpoints *checkpoints, struct dbk_os *os, const char *folder,
                         struct dbk_error *err)
{
    size_t size = strlen(folder) + sizeof("/checkpoints");
    *checkpoints = (struct dbk_checkpoints){.os = os, .folder = folder, .file = DBK_FILE_CLOSED};
    checkpoints->path = dbk_alloc(size);
    if (checkpoints->path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", folder);
    (void)snprintf(checkpoints->path, size, "%s/checkpoints", folder);
    return DBK_OK;
}

void dbk_checkpoints_release(struct dbk_checkpoints *checkpoints)
{
    if (checkpoints->os == NULL)
        return;
    checkpoints->os->close(checkpoints->os, &checkpoints->file);
    dbk_free(checkpoints->path);
    checkpoints->path = NULL;
}

static bool has_holes(struct dbk_slice note)
{
    return memchr(note.data, 0, note.size) != NULL;
}

int dbk_checkpoints_read(struct dbk_checkpoints *checkpoints, struct dbk_buf *bytes_out,
                         struct dbk_slice *newest_out, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_slice note;
    struct dbk_slice newest = {0};
    checkpoints->os->close(checkpoints->os, &checkpoints->file);
    dbk_buf_reset(bytes_out);
    int rc = dbk_os_read_file(checkpoints->os, checkpoints->path, DBK_CHECKPOINTS_SIZE_MAX,
                              bytes_out, &failure);
    if (rc < 0 && rc != DBK_ENOTFOUND) {
        if (err != NULL)
            *err = failure;
        return rc;
    }
    struct dbk_slice left = dbk_buf_slice(bytes_out);
    while (left.size > 0) {
        struct dbk_slice before = left;
        if (!dbk_note_next(&left, &note))
            break;
        if (left.size == 0 && has_holes(note)) {
            left = before;
            break;
        }
        newest = note;
    }
    if (left.size > DBK_NOTE_SIZE_MAX)
        return dbk_error_set(err, DBK_ECORRUPT, "%s is damaged behind byte %zu", checkpoints->path,
                             bytes_out->size - left.size);
    checkpoints->size = bytes_out->size - left.size;
    checkpoints->soiled = left.size > 0;
    *newest_out = newest;
    return DBK_OK;
}

static int open_file(struct dbk_checkpoints *checkpoints, struct dbk_error *err)
{
    struct dbk_os *os = checkpoints->os;
    if (checkpoints->file.fd >= 0)
        return DBK_OK;
    int rc = os->open(os, checkpoints->path, DBK_OS_WRITE, &checkpoints->file, NULL);
    if (rc != DBK_ENOTFOUND)
        return rc == DBK_OK
                   ? rc
                   : os->open(os, checkpoints->path, DBK_OS_WRITE, &checkpoints->file, err);
    rc = os->open(os, checkpoints->path, DBK_OS_WRITE | DBK_OS_CREATE, &checkpoints->file, err);
    if (rc == DBK_OK)
        rc = os->sync_folder(os, checkpoints->folder, err);
    if (rc < 0)
        os->close(os, &checkpoints->file);
    return rc;
}

/* Every other note of the older half goes. */
static int thin(struct dbk_checkpoints *checkpoints, struct dbk_error *err)
{
    struct dbk_buf bytes;
    struct dbk_buf kept;
    struct dbk_slice note;
    struct dbk_slice newest;
    bool keep = true;
    dbk_buf_init(&bytes, DBK_CHECKPOINTS_SIZE_MAX + 1);
    dbk_buf_init(&kept, DBK_CHECKPOINTS_SIZE_MAX + 1);
    int rc = dbk_checkpoints_read(checkpoints, &bytes, &newest, err);
    struct dbk_slice left = dbk_slice(bytes.data, (size_t)checkpoints->size);
    while (rc == DBK_OK && left.size > checkpoints->size / 2 && dbk_note_next(&left, &note)) {
        if (keep)
            dbk_buf_append(&kept, note);
        keep = !keep;
    }
    dbk_buf_append(&kept, left);
    if (rc == DBK_OK && kept.rc < 0)
        rc = dbk_error_set(err, kept.rc, "out of memory writing %s", checkpoints->path);
    if (rc == DBK_OK)
        rc = dbk_os_replace_file(checkpoints->os, checkpoints->path, dbk_buf_slice(&kept), err);
    if (rc == DBK_OK)
        checkpoints->size = kept.size;
    dbk_buf_release(&bytes);
    dbk_buf_release(&kept);
    return rc;
}

int dbk_checkpoints_append(struct dbk_checkpoints *checkpoints, struct dbk_slice note,
                           struct dbk_error *err)
{
    struct dbk_os *os = checkpoints->os;
    int rc = checkpoints->size > DBK_CHECKPOINTS_SIZE ? thin(checkpoints, err) : DBK_OK;
    if (rc == DBK_OK)
        rc = open_file(checkpoints, err);
    if (rc == DBK_OK && checkpoints->soiled)
        rc = os->truncate(os, &checkpoints->file, checkpoints->size, err);
    if (rc < 0)
        return rc;
    checkpoints->soiled = true;
    rc = os->pwrite(os, &checkpoints->file, note, checkpoints->size, err);
    if (rc == DBK_OK)
        rc = os->sync(os, &checkpoints->file, err);
    if (rc < 0)
        return rc;
    checkpoints->size += note.size;
    checkpoints->soiled = false;
    return DBK_OK;
}
