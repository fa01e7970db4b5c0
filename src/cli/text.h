/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text -- how wide a text is on a terminal, and where to cut it.
 *
 * Threads: pure functions.
 * Source:  Unicode 15, East Asian Width (W and F are two columns) and general categories Mn, Me
 *          and Cf (none), by ranges of whole blocks.
 */
#ifndef DBK_CLI_TEXT_H
#define DBK_CLI_TEXT_H

#include <stddef.h>

#include "base/memory.h"
#include "base/slice.h"

/* Columns that UTF-8 text takes; a byte that is no UTF-8 counts as one. */
size_t dbk_text_width(struct dbk_slice text);

/* The longest start of the text that fits, whole characters only. */
struct dbk_slice dbk_text_cut(struct dbk_slice text, size_t width_max);

/* Appends the text with control characters written as \n, \t or \x1b, so that it keeps to a line
   and sends a terminal nothing it would obey. */
void dbk_text_write_visible(struct dbk_buf *out, struct dbk_slice text);

#endif
