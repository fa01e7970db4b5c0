/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steps -- how the steps of an instance get on, forward and back.
 *
 * Threads: as the machine.
 */
#ifndef DBK_SAGA_STEPS_H
#define DBK_SAGA_STEPS_H

#include "saga/machine.h"

int dbk_saga_no_memory(struct dbk_error *err);
/* Calls a function of the file with the record's state, and does what it wishes. */
int dbk_saga_call_function(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                           const struct dbk_saga_call *call, struct dbk_error *err) DBK_MUST_CHECK;
/* Sends a step, or its compensation, for the first time or again. */
int dbk_saga_send_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                       size_t index, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_saga_send_undo(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                       size_t index, struct dbk_error *err) DBK_MUST_CHECK;
/* An answer came (input, NULL: none is waited for). */
int dbk_saga_step_succeeds(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                           size_t index, const struct dbk_saga_input *input,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* It came to nothing, or nobody knows: the file goes another way, or all is undone. */
int dbk_saga_break_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                        size_t index, struct dbk_slice why, struct dbk_error *err) DBK_MUST_CHECK;
/* No answer yet: it is sent again later, or its tries are used up. */
int dbk_saga_pause_step(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                        size_t index, struct dbk_slice why, struct dbk_error *err) DBK_MUST_CHECK;
/* From now on it goes back. */
void dbk_saga_compensate(struct dbk_saga_record *record, struct dbk_slice reason);
void dbk_saga_stop_timer(struct dbk_saga_record *record, size_t index);
/* Completes it when its steps have ended; undoes the next step; or ends it. */
int dbk_saga_advance(struct dbk_saga_machine *machine, struct dbk_saga_record *record,
                     struct dbk_error *err) DBK_MUST_CHECK;

#endif
