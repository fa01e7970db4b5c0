/* SPDX-License-Identifier: Apache-2.0 */
#include "log/note.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "log/log.h"
#include "log/path.h"

#define NOTE_NAME "synced"

int dbk_note_read(struct dbk_os *os, const char *folder, struct dbk_note *note_out,
                  struct dbk_error *err)
{
    struct dbk_file file = DBK_FILE_CLOSED;
    char bytes[DBK_NOTE_SIZE];
    size_t size = 0;
    char *path = dbk_path_join(folder, NOTE_NAME);
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", folder, dbk_code_text(DBK_ENOMEM));
    int rc = os->open(os, path, DBK_OS_READ, &file, err);
    if (rc == DBK_OK)
        rc = os->pread(os, &file, bytes, sizeof(bytes), 0, &size, err);
    os->close(os, &file);

    bool found = false;
    for (size_t at = 0; rc == DBK_OK && at < size; at += DBK_NOTE_SLOT_DISTANCE) {
        struct dbk_note note;
        uint32_t version = 0;
        int slot_rc = dbk_note_decode(dbk_slice(bytes + at, size - at), &note, &version);
        if (slot_rc == DBK_EFORMAT)
            rc = dbk_error_set(err, DBK_EFORMAT,
                               "%s has format version %" PRIu32 ", this Daybook reads up to %d",
                               path, version, DBK_LOG_FORMAT);
        if (slot_rc == DBK_OK && (!found || note.sequence > note_out->sequence)) {
            *note_out = note;
            found = true;
        }
    }
    if (rc == DBK_OK && !found)
        rc =
            dbk_error_set(err, DBK_ECORRUPT, "%s: both notes of the synced size are damaged", path);
    dbk_free(path);
    return rc;
}

int dbk_note_replace(struct dbk_os *os, const char *folder, const struct dbk_note *note,
                     struct dbk_error *err)
{
    char bytes[DBK_NOTE_SIZE] = {0};
    char *path = dbk_path_join(folder, NOTE_NAME);
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", folder, dbk_code_text(DBK_ENOMEM));
    dbk_note_encode(note, bytes);
    dbk_note_encode(note, bytes + DBK_NOTE_SLOT_DISTANCE);
    int rc = dbk_os_replace_file(os, path, dbk_slice(bytes, sizeof(bytes)), err);
    dbk_free(path);
    return rc;
}

int dbk_note_open(struct dbk_os *os, const char *folder, uint64_t sequence,
                  struct dbk_note_file *note_file, struct dbk_error *err)
{
    char *path = dbk_path_join(folder, NOTE_NAME);
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", folder, dbk_code_text(DBK_ENOMEM));
    int rc = os->open(os, path, DBK_OS_WRITE, &note_file->file, err);
    note_file->sequence = sequence;
    dbk_free(path);
    return rc;
}

void dbk_note_close(struct dbk_os *os, struct dbk_note_file *note_file)
{
    os->close(os, &note_file->file);
}

int dbk_note_write(struct dbk_os *os, struct dbk_note_file *note_file, const struct dbk_note *note,
                   struct dbk_error *err)
{
    char bytes[DBK_NOTE_SLOT_SIZE];
    struct dbk_note next = *note;
    next.sequence = note_file->sequence + 1;
    dbk_note_encode(&next, bytes);
    uint64_t offset = next.sequence % 2 * DBK_NOTE_SLOT_DISTANCE;
    int rc = os->pwrite(os, &note_file->file, dbk_slice(bytes, sizeof(bytes)), offset, err);
    if (rc == DBK_OK)
        note_file->sequence = next.sequence;
    return rc;
}

int dbk_note_settle(struct dbk_os *os, struct dbk_note_file *note_file, const struct dbk_note *note,
                    struct dbk_error *err)
{
    int rc = DBK_OK;
    for (int slot = 0; slot < 2 && rc == DBK_OK; slot++)
        rc = dbk_note_write(os, note_file, note, err);
    return rc < 0 ? rc : os->sync(os, &note_file->file, err);
}
