/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs -- when a schedule runs, by a clock that stands still until the next run is due.
 *
 * Each line of standard input is SCHEDULE, NAME, LAST and UNTIL with tabs between, times in
 * microseconds since 1970. It prints a line of those runs, of which each is the last one of the
 * next; in front of each failure there is a '!'.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/time.h"
#include "view/schedule.h"

static void simulate(char *line)
{
    struct dbk_schedule schedule;
    struct dbk_arena arena;
    struct dbk_error err = {0};
    char *rest = NULL;
    const char *text = strtok_r(line, "\t", &rest);
    const char *name = strtok_r(NULL, "\t", &rest);
    const char *last_text = strtok_r(NULL, "\t", &rest);
    const char *until_text = strtok_r(NULL, "\t", &rest);
    dbk_arena_init(&arena, (size_t)1 << 20);
    if (until_text == NULL || !dbk_schedule_parse(dbk_slice_of(text), &schedule))
        (void)printf("!no schedule");
    else if (dbk_schedule_find_zone(&schedule, dbk_os_real(), &arena, &err) < 0)
        (void)printf("!%s", err.message);
    else {
        schedule.seed = dbk_schedule_seed(name);
        int64_t until_us = strtoll(until_text, NULL, 10);
        int64_t run_us = dbk_schedule_next(&schedule, strtoll(last_text, NULL, 10));
        for (; run_us < until_us; run_us = dbk_schedule_next(&schedule, run_us))
            (void)printf("%jd ", (intmax_t)run_us);
    }
    (void)printf("\n");
    dbk_arena_release(&arena);
}

int main(void)
{
    char line[4096];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        simulate(line);
    }
    return 0;
}
