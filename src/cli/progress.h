/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress -- one line on a terminal's standard error that says how far long work has got.
 *
 * It appears after a second, is rewritten a few times a second, and is wiped at the end. Where
 * standard error is no terminal nothing is shown.
 *
 * Threads: one thread at a time.
 */
#ifndef DBK_CLI_PROGRESS_H
#define DBK_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dbk_progress {
    const char *what; /* "import" */
    const char *unit; /* "rows" */
    bool terminal;
    bool shown;
    int64_t started_us;
    int64_t updated_us;
};

void dbk_progress_begin(struct dbk_progress *progress, const char *what, const char *unit);
/* count: units done, for the rate; done of total: how far, for bar and remaining time (total 0:
   unknown). */
void dbk_progress_update(struct dbk_progress *progress, uint64_t count, uint64_t done,
                         uint64_t total);
/* The same where units are the whole, as a step of long work that is told so; goes on. */
int dbk_progress_step(void *progress, uint64_t done, uint64_t total);
/* Wipes the line, so that other lines can be printed. */
void dbk_progress_clear(struct dbk_progress *progress);

/* Writes the line: `import  [#####-----]  50%  270000 rows  52000 rows/s  5 s left`. */
size_t dbk_progress_format(const struct dbk_progress *progress, int64_t elapsed_us, uint64_t count,
                           uint64_t done, uint64_t total, char text[160]);

#endif
