/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_baseline -- two reports of the same benchmark compared.
 *
 * Compared are the members of `ratio` (to the raw limits of the same run) and of `rate` (where no
 * raw limit exists). More is better for all of them. A metric is worse when it fell by more than
 * the noise. Reports of other benchmarks, or with other settings, are not comparable.
 *
 * Threads: pure functions.
 */
#ifndef DBK_CLI_BENCH_BASELINE_H
#define DBK_CLI_BENCH_BASELINE_H

#include "base/memory.h"
#include "json/json.h"

#define DBK_BASELINE_ITEMS_MAX 16

struct dbk_baseline_item {
    char name[64]; /* "ratio sync" */
    double before;
    double now;
    double change; /* percent; negative: less than before */
    bool worse;
};

struct dbk_baseline {
    struct dbk_baseline_item items[DBK_BASELINE_ITEMS_MAX];
    size_t count;
    size_t worse;
};

/*
 * DBK_EINVAL  `before` is no report, is of another benchmark, has other settings or lacks a metric;
 *             the message names it
 * DBK_ELIMIT  a report has more than DBK_BASELINE_ITEMS_MAX metrics
 */
int dbk_baseline_compare(const struct dbk_json_node *before, const struct dbk_json_node *now,
                         double noise_percent, struct dbk_baseline *baseline_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* What got worse, as the message of an error: each metric with its old and new value. */
int dbk_baseline_failure(const struct dbk_baseline *baseline, double noise_percent,
                         struct dbk_error *err);

#endif
