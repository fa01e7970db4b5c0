/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note -- the file "synced": up to where the log is known to be on the disk.
 *
 * Written after each sync, not synced itself but at open and close. Its two slots lie in sectors of
 * their own and are written in turns, so that whatever a crash leaves of a write, the other slot is
 * whole: both damaged at once is never the work of a crash.
 *
 * Threads: one writer; readers of other processes read the file anew each time.
 * Source:  docs/format/log.md.
 */
#ifndef DBK_LOG_NOTE_H
#define DBK_LOG_NOTE_H

#include "log/format.h"
#include "os/os.h"

struct dbk_note_file {
    struct dbk_file file;
    uint64_t sequence; /* of the last note written */
};

/*
 * Reads the newest note of a folder.
 *
 * DBK_ENOTFOUND there is no such file
 * DBK_ECORRUPT  both slots are damaged
 * DBK_EFORMAT   a newer version wrote it
 * DBK_EIO, DBK_EDENIED, DBK_ENOMEM
 */
int dbk_note_read(struct dbk_os *os, const char *folder, struct dbk_note *note_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

/* Makes or remakes the file with this note in both slots, durably, and closes it. */
int dbk_note_replace(struct dbk_os *os, const char *folder, const struct dbk_note *note,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* Opens the file for writing notes that follow `sequence`. */
int dbk_note_open(struct dbk_os *os, const char *folder, uint64_t sequence,
                  struct dbk_note_file *note_file, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_note_close(struct dbk_os *os, struct dbk_note_file *note_file);

/* Writes the next note; its sequence is given here. After a failure the same slot comes next. */
int dbk_note_write(struct dbk_os *os, struct dbk_note_file *note_file, const struct dbk_note *note,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Writes it into both slots, one after the other, and syncs them. */
int dbk_note_settle(struct dbk_os *os, struct dbk_note_file *note_file, const struct dbk_note *note,
                    struct dbk_error *err) DBK_MUST_CHECK;

#endif
