/* SPDX-License-Identifier: Apache-2.0 */
#include "store/rules.h"

#include <inttypes.h>

#include "json/json.h"

#define RULES_SIZE_MAX ((size_t)4096)
#define APPEND_ATTEMPTS 64

struct dbk_slice dbk_store_rules_subject(struct dbk_slice stream)
{
    struct dbk_slice prefix = DBK_SLICE_LITERAL(DBK_RULES_PREFIX);
    if (!dbk_slice_starts_with(stream, prefix))
        return (struct dbk_slice){0};
    return dbk_slice(stream.data + prefix.size, stream.size - prefix.size);
}

static struct dbk_slice name_of(struct dbk_slice stream, char name[DBK_RULES_NAME_SIZE])
{
    size_t prefix = sizeof(DBK_RULES_PREFIX) - 1;
    memcpy(name, DBK_RULES_PREFIX, prefix);
    memcpy(name + prefix, stream.data, stream.size);
    return dbk_slice(name, prefix + stream.size);
}

/* A name this long cannot have had rules. */
static bool may_have_rules(struct dbk_slice stream)
{
    return stream.size > 0 && stream.size + sizeof(DBK_RULES_PREFIX) - 1 <= DBK_STREAM_SIZE_MAX;
}

int dbk_rules_look(struct dbk_store *store, struct dbk_error *err)
{
    struct dbk_posting posting;
    size_t count = 0;
    struct dbk_index_range range = {.rank_max = UINT64_MAX, .position_max = UINT64_MAX};
    if (atomic_load(&store->has_rules))
        return DBK_OK;
    int rc = dbk_index_find(store->index, DBK_INDEX_CATEGORY, DBK_SLICE_LITERAL("$stream"), &range,
                            &posting, 1, &count, err);
    if (rc == DBK_OK && count > 0)
        atomic_store(&store->has_rules, true);
    return rc;
}

static bool read_number(const struct dbk_json_node *root, const char *key, uint64_t *number_out)
{
    const struct dbk_json_node *node = dbk_json_member(root, key);
    if (node == NULL)
        return true;
    if (node->kind != DBK_JSON_INTEGER || node->integer < 0)
        return false;
    *number_out = (uint64_t)node->integer;
    return true;
}

static int decode(const struct dbk_event *event, struct dbk_stream_rules *rules_out,
                  struct dbk_error *err)
{
    struct dbk_json *json = dbk_json_create(RULES_SIZE_MAX);
    const struct dbk_json_node *root = NULL;
    struct dbk_stream_rules rules = {0};
    uint64_t age_us = 0;
    int rc = json == NULL ? DBK_ENOMEM : dbk_json_parse(json, event->data, &root, NULL);
    if (rc == DBK_OK && !(read_number(root, "max_age_us", &age_us) &&
                          read_number(root, "max_count", &rules.max_count) &&
                          read_number(root, "truncate_before", &rules.truncate_before)))
        rc = DBK_ECORRUPT;
    if (rc == DBK_OK) {
        const struct dbk_json_node *closed = dbk_json_member(root, "closed");
        rules.max_age_us = (int64_t)age_us;
        rules.closed = closed != NULL && closed->kind == DBK_JSON_TRUE;
        *rules_out = rules;
    }
    dbk_json_free(json);
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "out of memory reading a stream's rules");
    if (rc < 0)
        return dbk_error_set(err, DBK_ECORRUPT, "the rules in %.*s at position %ju make no sense",
                             DBK_SLICE_ARGS(event->stream), (uintmax_t)event->position);
    return DBK_OK;
}

int dbk_rules_find(struct dbk_store *store, struct dbk_slice stream, uint64_t position_max,
                   struct dbk_stream_rules *rules_out, uint64_t *position_out,
                   struct dbk_error *err)
{
    char name[DBK_RULES_NAME_SIZE];
    struct dbk_posting last = {0};
    struct dbk_log_reader reader;
    struct dbk_event event;
    size_t count = 0;
    *rules_out = (struct dbk_stream_rules){0};
    *position_out = 0;
    if (!atomic_load(&store->has_rules) || !may_have_rules(stream))
        return DBK_OK;
    struct dbk_index_range range = {
        .rank_max = UINT64_MAX, .position_max = position_max, .backwards = true};
    int rc = dbk_index_find(store->index, DBK_INDEX_STREAM, name_of(stream, name), &range, &last, 1,
                            &count, err);
    if (rc < 0 || count == 0)
        return rc;
    *position_out = last.position;
    if (last.position > dbk_log_last_position(store->log))
        return dbk_error_set(err, DBK_EBUSY, "the rules of stream %.*s are being changed",
                             DBK_SLICE_ARGS(stream));
    dbk_log_reader_init(&reader);
    rc = dbk_store_read_position(store, last.position, &reader, &event, err);
    bool replaced = rc == DBK_OK && (event.flags & DBK_RECORD_REMOVED) != 0 &&
                    position_max < dbk_log_last_position(store->log);
    if (rc == DBK_OK && !replaced)
        rc = decode(&event, rules_out, err);
    dbk_log_reader_release(&reader);
    rules_out->version = last.rank;
    /* Rules that a compaction has removed left out no more than those that replaced them. */
    return replaced ? dbk_rules_find(store, stream, dbk_log_last_position(store->log), rules_out,
                                     position_out, err)
                    : rc;
}

int dbk_rules_bounds(struct dbk_store *store, struct dbk_slice stream, uint64_t *version_out,
                     int64_t *time_us_out, struct dbk_error *err)
{
    struct dbk_stream_info info;
    *version_out = 0;
    *time_us_out = 0;
    if (!atomic_load(&store->has_rules))
        return DBK_OK;
    int rc = dbk_store_stream_info(store, stream, &info, err);
    if (rc < 0)
        return rc;
    *version_out = info.first;
    *time_us_out = info.time_min_us;
    return DBK_OK;
}

/* What rules leave out of a stream of info's version at a time. */
static void bound(struct dbk_stream_info *info, int64_t now_us)
{
    const struct dbk_stream_rules *rules = &info->rules;
    info->first = rules->truncate_before > 1 ? rules->truncate_before : 1;
    if (rules->max_count > 0 && info->version > rules->max_count &&
        info->version - rules->max_count + 1 > info->first)
        info->first = info->version - rules->max_count + 1;
    if (rules->closed)
        info->first = info->version + 1;
    if (rules->max_age_us > 0)
        info->time_min_us = now_us > rules->max_age_us ? now_us - rules->max_age_us : 0;
    info->exists = info->version >= info->first;
}

int dbk_store_stream_info(struct dbk_store *store, struct dbk_slice stream,
                          struct dbk_stream_info *info_out, struct dbk_error *err)
{
    struct dbk_stream_info info = {0};
    uint64_t position = 0;
    int rc = dbk_store_stream_version(store, stream, &info.version, err);
    if (rc == DBK_OK)
        rc = dbk_rules_find(store, stream, dbk_log_last_position(store->log), &info.rules,
                            &position, err);
    if (rc < 0)
        return rc;
    bound(&info, info.rules.max_age_us > 0 ? store->os->now_us(store->os) : 0);
    *info_out = info;
    return DBK_OK;
}

int dbk_store_stream_info_at(struct dbk_store *store, struct dbk_slice stream, uint64_t position,
                             int64_t time_us, struct dbk_stream_info *info_out,
                             struct dbk_error *err)
{
    const struct dbk_store_moment moment = {.position = position, .time_us = time_us};
    return dbk_store_stream_info_ahead(store, stream, &moment, info_out, err);
}

/* How many of them are up to a position. */
static size_t count_to(const struct dbk_event *events, size_t count, uint64_t position)
{
    size_t low = 0;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (events[middle].position <= position)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/* The last of what is ahead says what the stream is. */
static int look_ahead(const struct dbk_store_ahead *ahead, uint64_t position,
                      struct dbk_stream_info *info, struct dbk_error *err)
{
    size_t count = count_to(ahead->events, ahead->count, position);
    size_t rule_count = count_to(ahead->rules, ahead->rule_count, position);
    if (count > 0)
        info->version = ahead->events[count - 1].version;
    if (rule_count == 0)
        return DBK_OK;
    int rc = decode(&ahead->rules[rule_count - 1], &info->rules, err);
    info->rules.version = ahead->rules[rule_count - 1].version;
    return rc;
}

int dbk_store_stream_info_ahead(struct dbk_store *store, struct dbk_slice stream,
                                const struct dbk_store_moment *moment,
                                struct dbk_stream_info *info_out, struct dbk_error *err)
{
    struct dbk_stream_info info = {0};
    uint64_t last = dbk_log_last_position(store->log);
    uint64_t rules_position = 0;
    uint64_t end = moment->position < last ? moment->position : last;
    int rc = dbk_store_stream_version_at(store, stream, end, &info.version, err);
    if (rc == DBK_OK && end > 0)
        rc = dbk_rules_find(store, stream, end, &info.rules, &rules_position, err);
    if (rc == DBK_OK && moment->ahead != NULL)
        rc = look_ahead(moment->ahead, moment->position, &info, err);
    if (rc < 0)
        return rc;
    bound(&info, moment->time_us);
    *info_out = info;
    return DBK_OK;
}

/* ---- Changing them ---- */

static void encode(const struct dbk_stream_rules *rules, struct dbk_buf *out)
{
    dbk_buf_append_char(out, '{');
    if (rules->max_age_us > 0)
        dbk_buf_append_format(out, "\"max_age_us\":%jd,", (intmax_t)rules->max_age_us);
    if (rules->max_count > 0)
        dbk_buf_append_format(out, "\"max_count\":%ju,", (uintmax_t)rules->max_count);
    if (rules->truncate_before > 0)
        dbk_buf_append_format(out, "\"truncate_before\":%ju,", (uintmax_t)rules->truncate_before);
    dbk_buf_append_format(out, "\"closed\":%s}", rules->closed ? "true" : "false");
}

int dbk_store_rules_event(struct dbk_slice stream, const struct dbk_stream_rules *rules,
                          struct dbk_arena *arena, struct dbk_new_event *event_out,
                          struct dbk_error *err)
{
    char name[DBK_RULES_NAME_SIZE];
    struct dbk_buf data;
    if (!may_have_rules(stream))
        return dbk_error_set(err, DBK_EINVAL, "the name of stream %.*s is too long for rules",
                             DBK_SLICE_ARGS(stream));
    dbk_buf_init(&data, RULES_SIZE_MAX);
    encode(rules, &data);
    *event_out = (struct dbk_new_event){.stream = dbk_arena_copy(arena, name_of(stream, name)),
                                        .type = rules->closed ? DBK_SLICE_LITERAL("StreamClosed")
                                                              : DBK_SLICE_LITERAL("StreamRulesSet"),
                                        .data = dbk_arena_copy(arena, dbk_buf_slice(&data)),
                                        .occurred_us = DBK_TIME_NONE,
                                        .flags = DBK_RECORD_JSON};
    dbk_buf_release(&data);
    return event_out->stream.data == NULL || event_out->data.data == NULL
               ? dbk_error_set(err, DBK_ENOMEM, "out of memory writing a stream's rules")
               : DBK_OK;
}

static int append_rules(struct dbk_store *store, struct dbk_slice stream, const char *type,
                        const struct dbk_stream_rules *rules, int64_t expected,
                        struct dbk_append_result *result, struct dbk_error *err)
{
    char name[DBK_RULES_NAME_SIZE];
    struct dbk_buf data;
    struct dbk_slice own = name_of(stream, name);
    struct dbk_expectation expectations[2] = {{own, (int64_t)rules->version}, {stream, expected}};
    dbk_buf_init(&data, RULES_SIZE_MAX);
    encode(rules, &data);
    struct dbk_new_event event = {.stream = own,
                                  .type = dbk_slice_of(type),
                                  .data = dbk_buf_slice(&data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    int rc = data.rc < 0 ? dbk_error_set(err, data.rc, "out of memory writing a stream's rules")
                         : dbk_store_append(store,
                                            &(struct dbk_batch){.events = &event,
                                                                .count = 1,
                                                                .expectations = expectations,
                                                                .expectation_count = 2,
                                                                .flags = DBK_APPEND_OWN},
                                            result, err);
    dbk_buf_release(&data);
    return rc;
}

static int check_change(struct dbk_slice stream, const struct dbk_stream_info *info,
                        struct dbk_error *err)
{
    if (!may_have_rules(stream))
        return dbk_error_set(err, DBK_EINVAL,
                             "a stream's name of %zu bytes is too long for rules, at most %zu fit",
                             stream.size, DBK_STREAM_SIZE_MAX + 1 - sizeof(DBK_RULES_PREFIX));
    if (dbk_store_rules_subject(stream).size > 0)
        return dbk_error_set(err, DBK_EINVAL, "stream %.*s holds rules, and has none",
                             DBK_SLICE_ARGS(stream));
    if (info->version == 0)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no stream %.*s", DBK_SLICE_ARGS(stream));
    if (info->rules.closed)
        return dbk_error_set(err, DBK_EDENIED, "stream %.*s was closed for good",
                             DBK_SLICE_ARGS(stream));
    return DBK_OK;
}

static int check_rules(const struct dbk_stream_rules *rules, const struct dbk_stream_info *info,
                       struct dbk_error *err)
{
    if (rules->max_age_us < 0 || rules->max_count > INT64_MAX)
        return dbk_error_set(err, DBK_EINVAL, "a stream's max age and max count are not below 0");
    if (rules->truncate_before > info->version + 1)
        return dbk_error_set(err, DBK_EINVAL,
                             "truncate before %ju is past the next version, which is %ju",
                             (uintmax_t)rules->truncate_before, (uintmax_t)info->version + 1);
    return DBK_OK;
}

/* The first version that is shown now, also by age. */
static int shown_first(struct dbk_store *store, struct dbk_slice stream,
                       const struct dbk_stream_info *info, uint64_t *first_out,
                       struct dbk_error *err)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    *first_out = info->first;
    if (info->time_min_us == 0)
        return DBK_OK;
    int rc = dbk_cursor_open(store, &(struct dbk_filter){.stream = stream, .hidden = true}, &cursor,
                             err);
    if (rc == DBK_OK)
        rc = dbk_cursor_next(cursor, &event, err);
    if (rc >= 0)
        *first_out = rc == 0 ? info->version + 1 : event.version;
    dbk_cursor_free(cursor);
    return rc < 0 ? rc : DBK_OK;
}

int dbk_store_set_rules(struct dbk_store *store, struct dbk_slice stream,
                        const struct dbk_stream_rules *rules, struct dbk_append_result *result_out,
                        struct dbk_error *err)
{
    int rc = DBK_ECONFLICT;
    for (int attempt = 0; rc == DBK_ECONFLICT && attempt < APPEND_ATTEMPTS; attempt++) {
        struct dbk_stream_info info;
        struct dbk_stream_rules wanted = *rules;
        uint64_t first = 0;
        rc = dbk_store_stream_info(store, stream, &info, err);
        if (rc == DBK_OK)
            rc = check_change(stream, &info, err);
        if (rc == DBK_OK)
            rc = check_rules(rules, &info, err);
        if (rc == DBK_OK)
            rc = shown_first(store, stream, &info, &first, err);
        if (rc < 0)
            return rc;
        wanted.version = info.rules.version;
        wanted.closed = false;
        /* What is gone stays gone: the events may have been removed already. */
        if (first > 1 && wanted.truncate_before < first)
            wanted.truncate_before = first;
        rc =
            append_rules(store, stream, "StreamRulesSet", &wanted, DBK_EXPECT_ANY, result_out, err);
    }
    return rc;
}

/* A writer that is always faster must not make this go on for ever. */
static bool may_try_again(const struct dbk_append_result *result, int64_t expected, int attempt)
{
    return attempt < APPEND_ATTEMPTS && (expected < 0 || result->failed_expectation == 0);
}

int dbk_store_delete_stream(struct dbk_store *store, struct dbk_slice stream, int64_t expected,
                            bool close, struct dbk_append_result *result_out, struct dbk_error *err)
{
    for (int attempt = 0;; attempt++) {
        struct dbk_stream_info info;
        int rc = dbk_store_stream_info(store, stream, &info, err);
        if (rc == DBK_OK)
            rc = check_change(stream, &info, err);
        if (rc == DBK_OK && !info.exists && !close)
            rc = dbk_error_set(err, DBK_ENOTFOUND, "stream %.*s is deleted already",
                               DBK_SLICE_ARGS(stream));
        if (rc < 0)
            return rc;
        struct dbk_stream_rules wanted = info.rules;
        wanted.truncate_before = info.version + 1;
        wanted.closed = close;
        int64_t version = expected >= 0 ? expected : (int64_t)info.version;
        /* A deleted stream's version is expected as "none". */
        if (expected < 0 && !info.exists)
            version = DBK_EXPECT_NONE;
        rc = append_rules(store, stream, close ? "StreamClosed" : "StreamDeleted", &wanted, version,
                          result_out, err);
        if (rc != DBK_ECONFLICT || !may_try_again(result_out, expected, attempt))
            return rc;
    }
}
