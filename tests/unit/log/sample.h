/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sample -- events that are a function of their position, and a log that must hold them.
 */
#ifndef DBK_TESTS_LOG_SAMPLE_H
#define DBK_TESTS_LOG_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "log/log.h"

#define SAMPLE_DATA_SIZE 700

struct sample {
    struct dbk_event event;
    char stream[32];
    char data[SAMPLE_DATA_SIZE];
};

/* The event that belongs at a position; its slices point into the sample. */
void sample_make(struct sample *sample, uint64_t position);
bool sample_equal(const struct dbk_event *a, const struct dbk_event *b);

/* Appends `count` events as one group; the code of the first call that failed. */
int sample_append(struct dbk_log *log, unsigned count, bool sync, struct dbk_error *err);

/*
 * Scans the log and reads each record by its place: true when it holds the samples 1 to
 * dbk_log_last_position and no more. False with err filled on any failure; with an empty err when
 * an event is another one than it should be.
 */
bool sample_check(struct dbk_log *log, struct dbk_error *err);

#endif
