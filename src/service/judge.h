/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge -- what becomes of one user by one change.
 *
 * Threads: pure functions.
 */
#ifndef DBK_SERVICE_JUDGE_H
#define DBK_SERVICE_JUDGE_H

#include "service/users.h"

struct dbk_judgement {
    bool uses; /* false: the user has nothing to do with it */
    enum dbk_impact_verdict verdict;
    const char *why;
};

struct dbk_judgement dbk_judge(const struct dbk_impact_scope *scope,
                               const struct dbk_change *change, const struct dbk_user *user);

#endif
