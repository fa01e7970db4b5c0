/* SPDX-License-Identifier: Apache-2.0 */
/*
 * functions -- a saga whose functions are a program's own, in place of a file's.
 *
 * What they answer is checked here as what a file answers is. One that fails is DBK_ESCRIPT, and
 * its message names saga and function.
 *
 * Threads: as a script.
 */
#ifndef DBK_SAGA_FUNCTIONS_H
#define DBK_SAGA_FUNCTIONS_H

#include "saga/script.h"

/* Texts that they make lie in the arena. Not DBK_OK: DBK_ESCRIPT or DBK_ENOMEM; why is said by
   whoever calls them. */
struct dbk_saga_functions {
    const struct dbk_saga_definition *definition; /* kept; flags are of the functions there */
    void *context;
    int (*run)(void *context, const struct dbk_saga_call *call, struct dbk_arena *arena,
               struct dbk_saga_answer *answer_out);
    int (*by)(void *context, const struct dbk_saga_route *route, const struct dbk_event *event,
              struct dbk_arena *arena, struct dbk_slice *id_out);
    int (*key)(void *context, size_t step, struct dbk_slice state, struct dbk_arena *arena,
               struct dbk_slice *key_out);
    int (*lock)(void *context, size_t step, struct dbk_slice state, struct dbk_arena *arena,
                struct dbk_slice *lock_out);
    int (*send)(void *context, const struct dbk_saga_sending *sending, struct dbk_arena *arena,
                struct dbk_saga_message *message_out);
};

/* name: of the saga, for messages. */
int dbk_saga_functions_run(const struct dbk_saga_functions *functions, const char *name,
                           const struct dbk_saga_call *call, struct dbk_arena *arena,
                           struct dbk_saga_answer *answer_out,
                           struct dbk_error *err) DBK_MUST_CHECK;
int dbk_saga_functions_by(const struct dbk_saga_functions *functions, const char *name,
                          const struct dbk_saga_route *route, const struct dbk_event *event,
                          struct dbk_arena *arena, struct dbk_slice *id_out,
                          struct dbk_error *err) DBK_MUST_CHECK;
int dbk_saga_functions_key(const struct dbk_saga_functions *functions, const char *name,
                           size_t step, struct dbk_slice state, struct dbk_arena *arena,
                           struct dbk_slice *key_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_saga_functions_lock(const struct dbk_saga_functions *functions, const char *name,
                            size_t step, struct dbk_slice state, struct dbk_arena *arena,
                            struct dbk_slice *lock_out, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_saga_functions_send(const struct dbk_saga_functions *functions, const char *name,
                            const struct dbk_saga_sending *sending, struct dbk_arena *arena,
                            struct dbk_saga_message *message_out,
                            struct dbk_error *err) DBK_MUST_CHECK;

#endif
