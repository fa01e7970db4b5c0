/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check -- the parts of checking the views of a book.
 *
 * Threads: one at a time.
 */
#ifndef DBK_VIEW_CHECK_H
#define DBK_VIEW_CHECK_H

#include "view/refresh.h"

/*
 * Refuses schedules that cannot be kept (timing.c): `downstream` of what no view reads, and a lag
 * over a view that is refreshed more seldom. Faults go to the list, their texts to the arena.
 * DBK_ENOMEM
 */
int dbk_views_check_timing(const struct dbk_view_definition *views, size_t count,
                           struct dbk_arena *arena,
                           struct dbk_diagnostics *diagnostics) DBK_MUST_CHECK;

#endif
