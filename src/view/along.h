/* SPDX-License-Identifier: Apache-2.0 */
/*
 * along -- the views that stand on a model, built on its next generation before that is swapped,
 * and swapped with it.
 *
 *     rebuild: catches up | build: each view in order | catch up, catch up | work { …, swap }
 *
 * Views are built each behind those that it reads. One that was never refreshed is left to its
 * schedule. One that cannot be built keeps its rows, its row says why, and the views that read it
 * keep theirs; the model is swapped all the same. Until the swap the old generations are refreshed
 * as ever.
 *
 * Where two models that the same view reads are rebuilt at once, the second one's views are built
 * when the first one is swapped.
 *
 * Threads: a rebuild calls its hooks one after the other from one thread.
 */
#ifndef DBK_VIEW_ALONG_H
#define DBK_VIEW_ALONG_H

#include "view/state.h"

/* Has the models call. views: kept until the models are freed. */
void dbk_along_set(struct dbk_views *views);

#endif
