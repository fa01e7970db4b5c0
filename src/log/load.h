/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load -- from files to an open log: finding the segments, and a reader's way in.
 *
 * Threads: as log.h.
 */
#ifndef DBK_LOG_LOAD_H
#define DBK_LOG_LOAD_H

#include "log/state.h"

/* The first positions of all segments in the folder, ascending: u64s in a buffer the caller has
   initialised and releases. */
int dbk_log_list_segments(struct dbk_log *log, struct dbk_buf *positions,
                          struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Loads the segments from an index up to (not including) `count` and seals those that have a
 * successor. Each must follow the one before: ordinal, book, and the size and checksum that it
 * says of its predecessor.
 *
 * DBK_ECORRUPT  one is missing, shortened, exchanged or damaged
 */
int dbk_log_load_segments(struct dbk_log *log, const struct dbk_buf *positions, uint32_t from,
                          uint32_t count, struct dbk_error *err) DBK_MUST_CHECK;

/* Loads a sealed segment again, which was compacted since. */
int dbk_log_load_again(struct dbk_log *log, uint32_t index, struct dbk_error *err) DBK_MUST_CHECK;

/* Brings a reader up to the newest note. The log may be new: then all is loaded. */
int dbk_log_load_note(struct dbk_log *log, bool *changed_out, struct dbk_error *err) DBK_MUST_CHECK;

#endif
