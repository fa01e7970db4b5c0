/* SPDX-License-Identifier: Apache-2.0 */
/*
 * along -- the views that stand on a model, built on its next generation before that is swapped,
 * and swapped with it.
 *
 *     rebuild: catches up | build: each view in order | catch up, catch up | work { …, swap }
 *
 * Views are built each behind those that it reads. One that was never refreshed is left to its
 * schedule. One that cannot be built keeps its rows, its row says why, and the views that read it
 * keep theirs; the model is swapped all the same. The old generations are refreshed as ever, until
 * all is built: then they stand still, and what the swap changes is written for those who follow
 * (view/build.h).
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
