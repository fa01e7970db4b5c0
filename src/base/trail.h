/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trail -- when positions were passed: a bounded memory of the last steps.
 *
 *     positions   1 .. 7      8 .. 8      11 .. 40
 *                +-----------+-----------+-----------+
 *                | begun_us  | begun_us  | begun_us  |
 *                | done_us   | done_us   | done_us   |
 *                +-----------+-----------+-----------+
 *                 oldest                  newest
 *
 * Who works on positions in steps notes each step when it is done: from which position to which,
 * and when it began and ended. Steps go forwards; positions between two are of no step. When it is
 * full the oldest step is forgotten, and that is said: no time is ever guessed.
 *
 * Threads: pure memory, under the caller's lock.
 */
#ifndef DBK_BASE_TRAIL_H
#define DBK_BASE_TRAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 128 KiB, of which what is not used is not touched. */
#define DBK_TRAIL_STEPS 4096

struct dbk_trail_step {
    uint64_t position_min;
    uint64_t position_max;
    int64_t begun_us;
    int64_t done_us;
};

struct dbk_trail {
    struct dbk_trail_step *steps; /* NULL until the first note */
    uint64_t count;               /* ever noted; step n is at n % DBK_TRAIL_STEPS */
};

enum dbk_trail_answer {
    DBK_TRAIL_FOUND,
    DBK_TRAIL_AHEAD,     /* behind the newest step: not done, as far as is known here */
    DBK_TRAIL_BETWEEN,   /* of no step, between two that are remembered */
    DBK_TRAIL_BEFORE,    /* before the first step that was ever noted */
    DBK_TRAIL_FORGOTTEN, /* before the oldest that is remembered */
};

/* Notes a step. Positions that were passed already are not noted again; without memory nothing is,
   and the trail is as if they had been passed unseen. */
void dbk_trail_note(struct dbk_trail *trail, const struct dbk_trail_step *step);
/* The step that a position is of; step_out is set when it was found. */
enum dbk_trail_answer dbk_trail_find(const struct dbk_trail *trail, uint64_t position,
                                     struct dbk_trail_step *step_out);
/* How far it goes; 0: nothing was noted. */
uint64_t dbk_trail_position(const struct dbk_trail *trail);
void dbk_trail_release(struct dbk_trail *trail);

#endif
