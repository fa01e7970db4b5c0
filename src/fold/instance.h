/* SPDX-License-Identifier: Apache-2.0 */
/*
 * instance -- one Lua state of a fold, and what a fold's script must look like.
 *
 * Threads: an instance belongs to one thread at a time.
 */
#ifndef DBK_FOLD_INSTANCE_H
#define DBK_FOLD_INSTANCE_H

#include "fold/fold.h"

#define DBK_FOLD_STATE_SIZE_MAX ((size_t)64 << 20)

struct dbk_fold_instance {
    struct dbk_fold_instance *next;
    struct dbk_script *script;
    struct dbk_json *json;
    const struct dbk_event *event; /* what `event` shows now */
    int on;                        /* registry references */
    int proxy;
};

/* name is borrowed: the file's path for messages. */
int dbk_fold_instance_open(const char *name, struct dbk_slice source,
                           struct dbk_fold_instance **instance_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
void dbk_fold_instance_free(struct dbk_fold_instance *instance);
/*
 * Puts an event into the state, which lies at stack index 2. A type without a function and a
 * removed event leave it as it is. DBK_ESCRIPT, DBK_ENOMEM.
 */
int dbk_fold_instance_apply(struct dbk_fold_instance *instance, const struct dbk_event *event,
                            struct dbk_error *err) DBK_MUST_CHECK;
/* Checks `initial`, `on` and `snapshot`; every_out is 0 where there are none. DBK_EINVAL. */
int dbk_fold_instance_check(struct dbk_fold_instance *instance, uint64_t *every_out,
                            struct dbk_error *err) DBK_MUST_CHECK;

#endif
