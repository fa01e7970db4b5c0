/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_baseline.h"

#include <stdio.h>

static const char *const compared[] = {"ratio", "rate"};

static bool number_of(const struct dbk_json_node *node, double *value_out)
{
    if (node == NULL || (node->kind != DBK_JSON_INTEGER && node->kind != DBK_JSON_DECIMAL))
        return false;
    *value_out = node->kind == DBK_JSON_INTEGER ? (double)node->integer
                                                : dbk_decimal_to_double(node->decimal);
    return true;
}

static int check_settings(const struct dbk_json_node *before, const struct dbk_json_node *now,
                          struct dbk_error *err)
{
    const struct dbk_json_node *old_settings = dbk_json_member(before, "settings");
    const struct dbk_json_node *settings = dbk_json_member(now, "settings");
    if (old_settings == NULL || settings == NULL)
        return dbk_error_set(err, DBK_EINVAL, "it has no settings");
    const struct dbk_json_node *setting = dbk_json_first(settings);
    for (uint32_t i = 0; i < settings->count; i++, setting = dbk_json_sibling(setting)) {
        const struct dbk_json_node *old = dbk_json_member_slice(old_settings, setting->key);
        if (old == NULL)
            return dbk_error_set(err, DBK_EINVAL, "its settings lack %.*s",
                                 DBK_SLICE_ARGS(setting->key));
        if (!dbk_slice_equal(old->raw, setting->raw))
            return dbk_error_set(err, DBK_EINVAL, "its %.*s is %.*s, this run's %.*s",
                                 DBK_SLICE_ARGS(setting->key), DBK_SLICE_ARGS(old->raw),
                                 DBK_SLICE_ARGS(setting->raw));
    }
    return DBK_OK;
}

static int check_kind(const struct dbk_json_node *before, const struct dbk_json_node *now,
                      struct dbk_error *err)
{
    const struct dbk_json_node *old_name = dbk_json_member(before, "bench");
    const struct dbk_json_node *name = dbk_json_member(now, "bench");
    if (old_name == NULL || name == NULL || old_name->kind != DBK_JSON_STRING)
        return dbk_error_set(err, DBK_EINVAL, "it is no report of daybook bench");
    if (!dbk_slice_equal(old_name->text, name->text))
        return dbk_error_set(err, DBK_EINVAL, "it is of daybook bench %.*s, not of bench %.*s",
                             DBK_SLICE_ARGS(old_name->text), DBK_SLICE_ARGS(name->text));
    return check_settings(before, now, err);
}

static int compare_part(const struct dbk_json_node *before, const struct dbk_json_node *now,
                        const char *part, double noise_percent, struct dbk_baseline *baseline,
                        struct dbk_error *err)
{
    const struct dbk_json_node *old_part = dbk_json_member(before, part);
    const struct dbk_json_node *new_part = dbk_json_member(now, part);
    const struct dbk_json_node *metric = new_part != NULL ? dbk_json_first(new_part) : NULL;
    for (uint32_t i = 0; metric != NULL && i < new_part->count; i++) {
        struct dbk_baseline_item *item = &baseline->items[baseline->count];
        if (baseline->count == DBK_BASELINE_ITEMS_MAX)
            return dbk_error_set(err, DBK_ELIMIT, "more than %d metrics", DBK_BASELINE_ITEMS_MAX);
        (void)snprintf(item->name, sizeof(item->name), "%s %.*s", part,
                       DBK_SLICE_ARGS(metric->key));
        if (old_part == NULL ||
            !number_of(dbk_json_member_slice(old_part, metric->key), &item->before) ||
            !number_of(metric, &item->now))
            return dbk_error_set(err, DBK_EINVAL, "it has no number %s", item->name);
        item->change = item->before > 0 ? (item->now / item->before - 1) * 100 : 0;
        item->worse = item->now < item->before * (1 - noise_percent / 100);
        baseline->worse += item->worse ? 1 : 0;
        baseline->count++;
        metric = dbk_json_sibling(metric);
    }
    return DBK_OK;
}

int dbk_baseline_compare(const struct dbk_json_node *before, const struct dbk_json_node *now,
                         double noise_percent, struct dbk_baseline *baseline_out,
                         struct dbk_error *err)
{
    struct dbk_baseline baseline = {0};
    int rc = check_kind(before, now, err);
    for (size_t i = 0; rc == DBK_OK && i < sizeof(compared) / sizeof(compared[0]); i++)
        rc = compare_part(before, now, compared[i], noise_percent, &baseline, err);
    if (rc == DBK_OK)
        *baseline_out = baseline;
    return rc;
}

int dbk_baseline_failure(const struct dbk_baseline *baseline, double noise_percent,
                         struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_ERROR_MESSAGE_SIZE);
    for (size_t i = 0; i < baseline->count; i++) {
        const struct dbk_baseline_item *item = &baseline->items[i];
        if (item->worse)
            dbk_buf_append_format(&text, "%s%s fell from %.6g to %.6g (%.1f %%)",
                                  text.size > 0 ? ", " : "", item->name, item->before, item->now,
                                  item->change);
    }
    int rc = dbk_error_set(err, DBK_ELIMIT, "worse than the baseline by more than %g %%: %.*s",
                           noise_percent, DBK_SLICE_ARGS(dbk_buf_slice(&text)));
    dbk_buf_release(&text);
    return rc;
}
