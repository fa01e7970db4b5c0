/* SPDX-License-Identifier: Apache-2.0 */
/*
 * head -- the comment head of a view's file, while it is read: `-- key: value` lines.
 *
 * Threads: one at a time.
 */
#ifndef DBK_VIEW_HEAD_H
#define DBK_VIEW_HEAD_H

#include "view/view.h"

enum dbk_head_key {
    DBK_HEAD_REFRESH,
    DBK_HEAD_DATABASE,
    DBK_HEAD_INDEX,
    DBK_HEAD_MODE,
    DBK_HEAD_KEY,
    DBK_HEAD_CHANGES,
    DBK_HEAD_ALERT,
    DBK_HEAD_WHEN,
    DBK_HEAD_TO,
    DBK_HEAD_HEADER,
    DBK_HEAD_KEEP,
    DBK_HEAD_VERIFY,
    DBK_HEAD_COUNT
};

struct dbk_head {
    const char *file;
    struct dbk_slice text;
    struct dbk_arena *arena;
    struct dbk_diagnostics *diagnostics;
    struct dbk_view_definition *definition;
    bool seen[DBK_HEAD_COUNT];
    struct dbk_alert_definition *alerts; /* the definition's */
    size_t alert_place;                  /* of the name of the last one */
};

/* Each adds a fault, or takes a value; DBK_ENOMEM is all that it fails with. */
int dbk_head_fault(struct dbk_head *head, const char *at, const char *what, const char *why,
                   const char *fix);
/* Without white space at its ends. */
struct dbk_slice dbk_head_trim(struct dbk_slice text);

/* `alert: name`, and what stands under it (alert_head.c). */
int dbk_head_take_alert(struct dbk_head *head, struct dbk_slice value);
int dbk_head_take_when(struct dbk_head *head, struct dbk_slice value);
int dbk_head_take_to(struct dbk_head *head, struct dbk_slice value);
int dbk_head_take_header(struct dbk_head *head, struct dbk_slice value);
/* Behind the last line of an alert: it has to have all that it needs. */
int dbk_head_end_alert(struct dbk_head *head);

#endif
