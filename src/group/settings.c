/* SPDX-License-Identifier: Apache-2.0 */
#include "group/state.h"

#define ARENA_SIZE_MAX ((size_t)1 << 20)
#define TEXT_SIZE_MAX ((size_t)256 << 10)
#define TIMEOUT_DEFAULT_US (INT64_C(30) * 1000000)
#define TIMEOUT_MAX_US (INT64_C(86400) * 1000000)
#define RETRY_DELAY_DEFAULT_US (INT64_C(1) * 1000000)
#define RETRIES_DEFAULT 10
#define RETRIES_MAX 1000000
#define WINDOW_DEFAULT 1000

void dbk_group_settings_init(struct dbk_group_settings *settings)
{
    *settings = (struct dbk_group_settings){.timeout_us = TIMEOUT_DEFAULT_US,
                                            .retry_delay_us = RETRY_DELAY_DEFAULT_US,
                                            .max_retries = RETRIES_DEFAULT,
                                            .window = WINDOW_DEFAULT};
    dbk_arena_init(&settings->arena, ARENA_SIZE_MAX);
}

void dbk_group_settings_release(struct dbk_group_settings *settings)
{
    dbk_json_free(settings->json);
    dbk_arena_release(&settings->arena);
    *settings = (struct dbk_group_settings){0};
}

static int read_number(const struct dbk_json_node *node, uint64_t min, uint64_t max,
                       uint64_t *number_out, struct dbk_error *err)
{
    if (node->kind != DBK_JSON_INTEGER || node->integer < 0 || (uint64_t)node->integer < min ||
        (uint64_t)node->integer > max)
        return dbk_error_set(err, DBK_EINVAL, "%.*s is a number from %ju to %ju",
                             DBK_SLICE_ARGS(node->key), (uintmax_t)min, (uintmax_t)max);
    *number_out = (uint64_t)node->integer;
    return DBK_OK;
}

static int read_duration(const struct dbk_json_node *node, int64_t min_us, int64_t *duration_us_out,
                         struct dbk_error *err)
{
    int64_t duration_us = 0;
    if (node->kind != DBK_JSON_STRING || !dbk_duration_parse(node->text, &duration_us) ||
        duration_us < min_us || duration_us > TIMEOUT_MAX_US)
        return dbk_error_set(err, DBK_EINVAL, "%.*s is a duration of at most a day, as \"30 s\"",
                             DBK_SLICE_ARGS(node->key));
    *duration_us_out = duration_us;
    return DBK_OK;
}

static int read_after(struct dbk_group_settings *settings, const struct dbk_json_node *node,
                      uint64_t last, struct dbk_error *err)
{
    settings->has_after = true;
    if (node->kind == DBK_JSON_STRING && dbk_slice_equal_text(node->text, "now")) {
        settings->after = last;
        return DBK_OK;
    }
    if (node->kind != DBK_JSON_INTEGER)
        return dbk_error_set(err, DBK_EINVAL, "after is a position or \"now\"");
    return read_number(node, 0, last, &settings->after, err);
}

static int read_order(struct dbk_group_settings *settings, const struct dbk_json_node *node,
                      struct dbk_error *err)
{
    settings->ordered = node->kind == DBK_JSON_STRING && dbk_slice_equal_text(node->text, "stream");
    if (!settings->ordered &&
        (node->kind != DBK_JSON_STRING || !dbk_slice_equal_text(node->text, "none")))
        return dbk_error_set(err, DBK_EINVAL, "order is \"stream\" or \"none\"");
    return DBK_OK;
}

static int read_prefix(struct dbk_group_settings *settings, const struct dbk_json_node *node,
                       struct dbk_error *err)
{
    if (node->kind != DBK_JSON_STRING || node->text.size == 0)
        return dbk_error_set(err, DBK_EINVAL, "stream_prefix is a text that is not empty");
    settings->filter.stream_prefix = node->text;
    return DBK_OK;
}

/* `$subjects` tells consumers who is forgotten. What groups themselves append is delivered to none:
   each delivery would give another. */
static int read_categories(struct dbk_group_settings *settings, const struct dbk_json_node *node,
                           struct dbk_error *err)
{
    struct dbk_filter *filter = &settings->filter;
    int rc = dbk_names_read(&settings->arena, node, "categories", &filter->categories,
                            &filter->category_count, err);
    for (size_t i = 0; rc == DBK_OK && i < filter->category_count; i++) {
        struct dbk_slice name = filter->categories[i];
        if (name.size == 0 || name.data[0] != '$')
            continue;
        filter->hidden = true;
        if (!dbk_slice_equal_text(name, "$subjects"))
            rc = dbk_error_set(err, DBK_EINVAL, "categories: \"%.*s\" is the book's own",
                               DBK_SLICE_ARGS(name));
    }
    return rc;
}

static int read_member(struct dbk_group_settings *settings, const struct dbk_json_node *node,
                       uint64_t last, struct dbk_error *err)
{
    struct dbk_filter *filter = &settings->filter;
    if (dbk_slice_equal_text(node->key, "categories"))
        return read_categories(settings, node, err);
    if (dbk_slice_equal_text(node->key, "types"))
        return dbk_names_read(&settings->arena, node, "types", &filter->types, &filter->type_count,
                              err);
    if (dbk_slice_equal_text(node->key, "stream_prefix"))
        return read_prefix(settings, node, err);
    if (dbk_slice_equal_text(node->key, "query"))
        return dbk_query_read(&settings->arena, node, &filter->query, err);
    if (dbk_slice_equal_text(node->key, "after"))
        return read_after(settings, node, last, err);
    if (dbk_slice_equal_text(node->key, "order"))
        return read_order(settings, node, err);
    if (dbk_slice_equal_text(node->key, "timeout"))
        return read_duration(node, 1000, &settings->timeout_us, err);
    if (dbk_slice_equal_text(node->key, "retry_delay"))
        return read_duration(node, 0, &settings->retry_delay_us, err);
    if (dbk_slice_equal_text(node->key, "max_retries"))
        return read_number(node, 0, RETRIES_MAX, &settings->max_retries, err);
    if (dbk_slice_equal_text(node->key, "window"))
        return read_number(node, 1, DBK_GROUP_WINDOW_MAX, &settings->window, err);
    return dbk_error_set(err, DBK_EINVAL,
                         "a group has no setting \"%.*s\"; there are categories, types, "
                         "stream_prefix, query, after, order, timeout, max_retries, retry_delay "
                         "and window",
                         (int)(node->key.size < 80 ? node->key.size : 80), node->key.data);
}

static void write_member(struct dbk_buf *out, bool *first, const struct dbk_json_node *root,
                         const char *key)
{
    const struct dbk_json_node *node = dbk_json_member(root, key);
    if (node == NULL)
        return;
    dbk_json_write_key(out, first, key);
    dbk_json_write_node(out, node);
}

static void write_duration(struct dbk_buf *out, bool *first, const char *key, int64_t duration_us)
{
    bool whole = duration_us % 1000000 == 0;
    dbk_json_write_key(out, first, key);
    dbk_buf_append_format(out, "\"%jd %s\"", (intmax_t)(duration_us / (whole ? 1000000 : 1000)),
                          whole ? "s" : "ms");
}

/* Every setting but `after`, which says once where to begin; also those that were not given. */
static void write_settings(const struct dbk_group_settings *settings,
                           const struct dbk_json_node *root, struct dbk_buf *out)
{
    bool first = true;
    dbk_buf_append_char(out, '{');
    write_member(out, &first, root, "categories");
    write_member(out, &first, root, "types");
    write_member(out, &first, root, "stream_prefix");
    write_member(out, &first, root, "query");
    dbk_json_write_key(out, &first, "order");
    dbk_json_write_string(out, dbk_slice_of(settings->ordered ? "stream" : "none"));
    write_duration(out, &first, "timeout", settings->timeout_us);
    dbk_json_write_key(out, &first, "max_retries");
    dbk_json_write_u64(out, settings->max_retries);
    write_duration(out, &first, "retry_delay", settings->retry_delay_us);
    dbk_json_write_key(out, &first, "window");
    dbk_json_write_u64(out, settings->window);
    dbk_buf_append_char(out, '}');
}

static int read_all(struct dbk_group_settings *settings, const struct dbk_json_node *root,
                    uint64_t last, struct dbk_error *err)
{
    int rc = root->kind == DBK_JSON_OBJECT
                 ? DBK_OK
                 : dbk_error_set(err, DBK_EINVAL, "a group's settings are a JSON object");
    const struct dbk_json_node *node = dbk_json_first(root);
    for (uint32_t i = 0; rc == DBK_OK && i < root->count; i++, node = dbk_json_sibling(node))
        rc = read_member(settings, node, last, err);
    return rc;
}

int dbk_group_settings_read(struct dbk_group_settings *settings, const struct dbk_json_node *root,
                            uint64_t last, struct dbk_error *err)
{
    struct dbk_buf text;
    int rc = read_all(settings, root, last, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&text, TEXT_SIZE_MAX);
    write_settings(settings, root, &text);
    settings->json = dbk_json_create(TEXT_SIZE_MAX);
    settings->text = dbk_arena_copy(&settings->arena, dbk_buf_slice(&text));
    if (text.rc < 0 || settings->json == NULL || settings->text.data == NULL)
        rc = dbk_error_set(err, text.rc < 0 ? text.rc : DBK_ENOMEM, "a group's settings: %s",
                           dbk_code_text(text.rc < 0 ? text.rc : DBK_ENOMEM));
    dbk_buf_release(&text);
    /* Once more from its own text, whose names live as long as the settings. */
    if (rc == DBK_OK)
        rc = dbk_json_parse(settings->json, settings->text, &root, err);
    return rc < 0 ? rc : read_all(settings, root, last, err);
}
