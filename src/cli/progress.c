/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "os/os.h"

#define DELAY_US 1000000
#define PERIOD_US 200000
#define BAR_WIDTH 20

static int64_t now_us(void)
{
    struct dbk_os *os = dbk_os_real();
    return os->monotonic_us(os);
}

void dbk_progress_begin(struct dbk_progress *progress, const char *what, const char *unit)
{
    *progress = (struct dbk_progress){
        .what = what, .unit = unit, .terminal = isatty(STDERR_FILENO) != 0, .started_us = now_us()};
}

size_t dbk_progress_format(const struct dbk_progress *progress, int64_t elapsed_us, uint64_t count,
                           uint64_t done, uint64_t total, char text[160])
{
    double seconds = (double)elapsed_us / 1e6;
    double rate = seconds > 0 ? (double)count / seconds : 0;
    char bar[BAR_WIDTH + 1];
    int size = 0;
    if (done > total)
        done = total;
    if (total == 0) {
        size = snprintf(text, 160, "%s  %ju %s  %.0f %s/s", progress->what, (uintmax_t)count,
                        progress->unit, rate, progress->unit);
        return size < 160 ? (size_t)size : 159;
    }
    double part = (double)done / (double)total;
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < (int)(part * BAR_WIDTH) ? '#' : '-';
    bar[BAR_WIDTH] = '\0';
    size = snprintf(text, 160, "%s  [%s] %3.0f%%  %ju %s  %.0f %s/s", progress->what, bar,
                    part * 100, (uintmax_t)count, progress->unit, rate, progress->unit);
    if (size < 160 && done > 0)
        size +=
            snprintf(text + size, 160 - (size_t)size, "  %.0f s left", seconds * (1 - part) / part);
    return size < 160 ? (size_t)size : 159;
}

void dbk_progress_update(struct dbk_progress *progress, uint64_t count, uint64_t done,
                         uint64_t total)
{
    char text[160];
    if (!progress->terminal)
        return;
    int64_t now = now_us();
    if (now - progress->started_us < DELAY_US || now - progress->updated_us < PERIOD_US)
        return;
    progress->updated_us = now;
    progress->shown = true;
    (void)dbk_progress_format(progress, now - progress->started_us, count, done, total, text);
    (void)fprintf(stderr, "\r\x1b[K%s", text);
    (void)fflush(stderr);
}

int dbk_progress_step(void *progress, uint64_t done, uint64_t total)
{
    dbk_progress_update(progress, done, done, total);
    return 0;
}

void dbk_progress_clear(struct dbk_progress *progress)
{
    if (!progress->shown)
        return;
    (void)fputs("\r\x1b[K", stderr);
    (void)fflush(stderr);
    progress->shown = false;
}
