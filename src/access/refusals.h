/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refusals -- who was refused what, as events of the hidden stream `$access`.
 *
 * What is refused is counted in memory by key, reason, operation and missing scope. A thread writes
 * what is new within a second or so, and what goes on once a minute, with how often it was refused
 * since: nobody makes more than DBK_REFUSALS_MAX events a minute, and the three that stand for all
 * there is no room for. What the log does not take stays counted.
 *
 * Nothing of what was sent is in an event: no secret, no path, no name that the book does not have.
 *
 * Threads: any; open and free from one.
 * Source:  docs/format/access.md.
 */
#ifndef DBK_ACCESS_REFUSALS_H
#define DBK_ACCESS_REFUSALS_H

#include "access/access.h"

#define DBK_REFUSALS_MAX 256

struct dbk_refusals;

/* engine is kept until free. */
int dbk_refusals_open(struct dbk_engine *engine, struct dbk_refusals **refusals_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Writes what is counted. NULL is fine. */
void dbk_refusals_free(struct dbk_refusals *refusals);

struct dbk_refusal {
    enum dbk_refusal_reason reason;
    const char *key;    /* its id; NULL: none that is known */
    const char *method; /* of the operation, static texts; NULL: it was not looked at */
    const char *path;
    enum dbk_scope_kind kind; /* that is missing; DBK_SCOPE_COUNT: none */
    struct dbk_slice name;    /* of the book's; empty: none */
};
/* Counts it. */
void dbk_refusals_note(struct dbk_refusals *refusals, const struct dbk_refusal *refusal);
/* How often since it was opened. */
uint64_t dbk_refusals_count(const struct dbk_refusals *refusals, enum dbk_refusal_reason reason);

#endif
