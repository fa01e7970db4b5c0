/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoints -- the file of signed checkpoints: notes one behind the other, each synced.
 *
 * A note that a crash cut off, or of which sectors are missing, is cut off by the next writer; it
 * was told to nobody. When the file has got large every other one of its older half goes.
 *
 * Threads: one at a time.
 * Source:  docs/format/proof.md.
 */
#ifndef DBK_PROOF_CHECKPOINTS_H
#define DBK_PROOF_CHECKPOINTS_H

#include "proof/note.h"

/* Past this size it is thinned. */
#define DBK_CHECKPOINTS_SIZE ((size_t)1 << 20)
/* And no file is read that is larger than this. */
#define DBK_CHECKPOINTS_SIZE_MAX ((size_t)16 << 20)

struct dbk_checkpoints {
    struct dbk_os *os;
    const char *folder; /* kept */
    char *path;
    struct dbk_file file;
    uint64_t size; /* of its whole notes */
    bool soiled;   /* something else stands behind them */
};

int dbk_checkpoints_init(struct dbk_checkpoints *checkpoints, struct dbk_os *os, const char *folder,
                         struct dbk_error *err) DBK_MUST_CHECK;
void dbk_checkpoints_release(struct dbk_checkpoints *checkpoints);

/*
 * Reads the file, and which is the newest whole note in it; none, or no file: an empty slice.
 *
 * bytes_out  emptied first; the note is a part of it
 *
 * DBK_ECORRUPT  what stands behind the last whole note is more than a crash can have left
 */
int dbk_checkpoints_read(struct dbk_checkpoints *checkpoints, struct dbk_buf *bytes_out,
                         struct dbk_slice *newest_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Appends a note, durably. After a failure the file must be read again before the next. */
int dbk_checkpoints_append(struct dbk_checkpoints *checkpoints, struct dbk_slice note,
                           struct dbk_error *err) DBK_MUST_CHECK;

#endif
