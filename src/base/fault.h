/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault -- how the rooms' readers report what is wrong with a file.
 *
 * A fault is not a failure: it goes to the list and reading goes on. Functions here answer DBK_OK
 * or DBK_ENOMEM.
 *
 * Threads: as the list.
 */
#ifndef DBK_BASE_FAULT_H
#define DBK_BASE_FAULT_H

#include "base/diagnostics.h"

struct dbk_fault {
    const char *file;
    unsigned line;   /* from 1; 0: the whole file */
    unsigned column; /* from 1, in characters */
    bool warning;
    const char *why; /* NULL: none */
    const char *fix; /* NULL: none */
};

/* Adds a fault; what it is comes by format. */
int dbk_fault_add(struct dbk_diagnostics *list, const struct dbk_fault *fault, const char *format,
                  ...) DBK_MUST_CHECK DBK_PRINTF(3, 4);

/*
 * "did you mean `…`?" when a name in scope is close, else the fallback (may be NULL). In the list's
 * arena; *fix_out is set only on success.
 */
int dbk_fault_suggest(struct dbk_diagnostics *list, const char *name, const char *const *candidates,
                      size_t count, const char *fallback, const char **fix_out) DBK_MUST_CHECK;

/* Sets line and column to those of a byte offset in a text. */
void dbk_fault_place(struct dbk_fault *fault, struct dbk_slice text, size_t offset);

/*
 * Refuses NUL bytes and bytes that are no UTF-8, at the first of them. *good_out tells whether the
 * text may be read on.
 */
int dbk_fault_check_text(struct dbk_diagnostics *list, const char *file, struct dbk_slice text,
                         bool *good_out) DBK_MUST_CHECK;

/* True for [A-Za-z_][A-Za-z0-9_]*. */
bool dbk_fault_is_name(struct dbk_slice text);

#endif
