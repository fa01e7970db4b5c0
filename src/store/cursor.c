/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor walks candidates, in order, and hands out those that pass its filter. Candidates come
 * from one of three places:
 *
 *     lists  postings of a stream, or of several categories or types, merged by position
 *     scan   the log itself, group by group: everything, or lists too dense to be worth it
 *     places one record after the other by its place: backwards, and where occurred times skip
 */
#include "base/assert.h"
#include "store/state.h"

#define LIST_POSTINGS 256
/* A list with a posting in every so many positions is read by scanning. */
#define DENSE 4

struct list {
    enum dbk_index_kind kind;
    struct dbk_slice name;
    uint64_t next_rank; /* where the next fetch begins */
    bool ended;
    size_t at;
    size_t count;
    struct dbk_posting postings[LIST_POSTINGS];
};

enum source { SOURCE_LISTS, SOURCE_SCAN, SOURCE_PLACES };

struct dbk_cursor {
    struct dbk_store *store;
    struct dbk_arena arena;
    struct dbk_filter filter;
    bool pinned; /* position_max was given */
    enum source source;
    struct list *lists;
    size_t list_count;
    struct dbk_log_scan *scan;
    uint64_t next;     /* the next position to look at */
    uint64_t position; /* everything up to it (backwards: down to it) has been looked at */
    bool ended;
    struct dbk_buf bytes;
};

static int copy_slices(struct dbk_cursor *cursor, const struct dbk_slice *slices, size_t count,
                       const struct dbk_slice **copies_out)
{
    struct dbk_slice *copies = dbk_arena_alloc_zero(&cursor->arena, count + 1, sizeof(*copies));
    if (copies == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        copies[i] = dbk_arena_copy(&cursor->arena, slices[i]);
        if (copies[i].data == NULL)
            return DBK_ENOMEM;
    }
    *copies_out = copies;
    return DBK_OK;
}

static int copy_filter(struct dbk_cursor *cursor, const struct dbk_filter *filter)
{
    struct dbk_filter *copy = &cursor->filter;
    *copy = *filter;
    copy->stream = dbk_arena_copy(&cursor->arena, filter->stream);
    copy->stream_prefix = dbk_arena_copy(&cursor->arena, filter->stream_prefix);
    int rc = copy_slices(cursor, filter->categories, filter->category_count, &copy->categories);
    if (rc == DBK_OK)
        rc = copy_slices(cursor, filter->types, filter->type_count, &copy->types);
    return rc;
}

/* Times become positions, as far as they can. */
static int bound_times(struct dbk_cursor *cursor, struct dbk_error *err)
{
    struct dbk_filter *filter = &cursor->filter;
    uint64_t position = 0;
    int rc = DBK_OK;
    if (filter->time_min_us != 0) {
        rc = dbk_store_position_at(cursor->store, filter->time_min_us - 1, &position, err);
        if (rc == DBK_OK && position + 1 > filter->position_min)
            filter->position_min = position + 1;
    }
    if (rc == DBK_OK && filter->time_max_us != 0) {
        rc = dbk_store_position_at(cursor->store, filter->time_max_us, &position, err);
        if (position < filter->position_max)
            filter->position_max = position;
    }
    return rc;
}

static struct dbk_index_range range_of(const struct dbk_cursor *cursor, const struct list *list)
{
    const struct dbk_filter *filter = &cursor->filter;
    bool stream = list->kind == DBK_INDEX_STREAM;
    uint64_t low = stream ? filter->version_min : filter->position_min;
    uint64_t high = stream ? (filter->version_max == 0 ? UINT64_MAX : filter->version_max)
                           : filter->position_max;
    return (struct dbk_index_range){.rank_min = filter->backwards ? low : list->next_rank,
                                    .rank_max = filter->backwards ? list->next_rank : high,
                                    .position_max = filter->position_max,
                                    .backwards = filter->backwards};
}

static int fetch(struct dbk_cursor *cursor, struct list *list, struct dbk_error *err)
{
    struct dbk_index_range range = range_of(cursor, list);
    list->at = 0;
    list->count = 0;
    if (list->ended || range.rank_min > range.rank_max)
        return DBK_OK;
    int rc = dbk_index_find(cursor->store->index, list->kind, list->name, &range, list->postings,
                            LIST_POSTINGS, &list->count, err);
    if (rc < 0 || list->count == 0)
        return rc;
    uint64_t last = list->postings[list->count - 1].rank;
    if (cursor->filter.backwards && last == 0)
        list->ended = true;
    else
        list->next_rank = cursor->filter.backwards ? last - 1 : last + 1;
    return DBK_OK;
}

static int add_list(struct dbk_cursor *cursor, enum dbk_index_kind kind, struct dbk_slice name,
                    struct dbk_error *err)
{
    struct list *list = &cursor->lists[cursor->list_count];
    const struct dbk_filter *filter = &cursor->filter;
    bool stream = kind == DBK_INDEX_STREAM;
    if (name.size > DBK_STREAM_SIZE_MAX)
        return DBK_OK;
    list->kind = kind;
    list->name = name;
    if (filter->backwards)
        list->next_rank = stream ? (filter->version_max == 0 ? UINT64_MAX : filter->version_max)
                                 : filter->position_max;
    else
        list->next_rank = stream ? filter->version_min : filter->position_min;
    cursor->list_count++;
    return fetch(cursor, list, err);
}

static int open_lists(struct dbk_cursor *cursor, const struct dbk_slice *names, size_t count,
                      enum dbk_index_kind kind, struct dbk_error *err)
{
    cursor->lists = dbk_alloc_zero(count, sizeof(*cursor->lists));
    if (cursor->lists == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    cursor->source = SOURCE_LISTS;
    for (size_t i = 0; i < count; i++) {
        bool twice = false;
        for (size_t j = 0; j < i; j++)
            twice = twice || dbk_slice_equal(names[i], names[j]);
        int rc = twice ? DBK_OK : add_list(cursor, kind, names[i], err);
        if (rc < 0)
            return rc;
    }
    return DBK_OK;
}

/* Lists whose first postings lie close together are read faster from the log itself. */
static bool is_dense(const struct dbk_cursor *cursor)
{
    for (size_t i = 0; i < cursor->list_count; i++) {
        const struct list *list = &cursor->lists[i];
        if (list->kind != DBK_INDEX_STREAM && list->count == LIST_POSTINGS &&
            list->postings[LIST_POSTINGS - 1].position - list->postings[0].position <
                LIST_POSTINGS * DENSE)
            return true;
    }
    return false;
}

static int open_scan(struct dbk_cursor *cursor, struct dbk_error *err)
{
    struct dbk_log_place place = {0, 0};
    int rc = DBK_OK;
    if (cursor->next > 1 && cursor->next <= dbk_index_last(cursor->store->index))
        rc = dbk_index_place(cursor->store->index, cursor->next, &place, err);
    else if (cursor->next > 1)
        place = dbk_log_end(cursor->store->log);
    cursor->source = SOURCE_SCAN;
    return rc < 0 ? rc : dbk_log_scan_open(cursor->store->log, place, &cursor->scan, err);
}

static bool has_occurred(const struct dbk_filter *filter)
{
    return filter->occurred_min_us != 0 || filter->occurred_max_us != 0;
}

static int choose_source(struct dbk_cursor *cursor, struct dbk_error *err)
{
    const struct dbk_filter *filter = &cursor->filter;
    const char *dash = filter->stream_prefix.size == 0
                           ? NULL
                           : memchr(filter->stream_prefix.data, '-', filter->stream_prefix.size);
    struct dbk_slice category = dbk_stream_category(filter->stream_prefix);
    int rc = DBK_OK;
    cursor->next = filter->backwards ? filter->position_max : filter->position_min;
    if (filter->stream.size > 0)
        return open_lists(cursor, &filter->stream, 1, DBK_INDEX_STREAM, err);
    if (filter->type_count > 0)
        rc = open_lists(cursor, filter->types, filter->type_count, DBK_INDEX_TYPE, err);
    else if (filter->category_count > 0)
        rc =
            open_lists(cursor, filter->categories, filter->category_count, DBK_INDEX_CATEGORY, err);
    else if (dash != NULL)
        rc = open_lists(cursor, &category, 1, DBK_INDEX_CATEGORY, err);
    bool by_place = filter->backwards || has_occurred(filter);
    if (rc < 0 || (cursor->lists != NULL && (by_place || !is_dense(cursor))))
        return rc;
    if (by_place) {
        cursor->source = SOURCE_PLACES;
        return DBK_OK;
    }
    return open_scan(cursor, err);
}

int dbk_cursor_open(struct dbk_store *store, const struct dbk_filter *filter,
                    struct dbk_cursor **cursor_out, struct dbk_error *err)
{
    int rc = dbk_store_refresh(store, err);
    if (rc < 0)
        return rc;
    struct dbk_cursor *cursor = dbk_alloc_zero(1, sizeof(*cursor));
    if (cursor == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
    cursor->store = store;
    dbk_arena_init(&cursor->arena, (size_t)16 << 20);
    dbk_buf_init(&cursor->bytes, SIZE_MAX);
    uint64_t last = dbk_log_last_position(store->log);
    if (copy_filter(cursor, filter) < 0) {
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
        goto out;
    }
    cursor->pinned = filter->position_max != 0;
    if (cursor->filter.position_max == 0 || cursor->filter.position_max > last)
        cursor->filter.position_max = last;
    if (cursor->filter.position_min == 0)
        cursor->filter.position_min = 1;
    rc = bound_times(cursor, err);
    if (rc == DBK_OK)
        rc = choose_source(cursor, err);
    cursor->position =
        filter->backwards ? cursor->filter.position_max + 1 : cursor->filter.position_min - 1;
out:
    if (rc < 0) {
        dbk_cursor_free(cursor);
        return rc;
    }
    *cursor_out = cursor;
    return DBK_OK;
}

void dbk_cursor_free(struct dbk_cursor *cursor)
{
    if (cursor == NULL)
        return;
    dbk_log_scan_free(cursor->scan);
    dbk_free(cursor->lists);
    dbk_buf_release(&cursor->bytes);
    dbk_arena_release(&cursor->arena);
    dbk_free(cursor);
}

static bool is_any(struct dbk_slice name, const struct dbk_slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (dbk_slice_equal(name, names[i]))
            return true;
    }
    return count == 0;
}

static bool passes(const struct dbk_filter *filter, const struct dbk_event *event)
{
    int64_t occurred = event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us;
    return (filter->stream.size == 0 || dbk_slice_equal(event->stream, filter->stream)) &&
           dbk_slice_starts_with(event->stream, filter->stream_prefix) &&
           (filter->hidden || event->stream.size == 0 || event->stream.data[0] != '$') &&
           event->position >= filter->position_min && event->position <= filter->position_max &&
           (filter->version_min == 0 || event->version >= filter->version_min) &&
           (filter->version_max == 0 || event->version <= filter->version_max) &&
           (filter->time_min_us == 0 || event->time_us >= filter->time_min_us) &&
           (filter->time_max_us == 0 || event->time_us <= filter->time_max_us) &&
           (filter->occurred_min_us == 0 || occurred >= filter->occurred_min_us) &&
           (filter->occurred_max_us == 0 || occurred <= filter->occurred_max_us) &&
           is_any(event->type, filter->types, filter->type_count) &&
           (filter->category_count == 0 ||
            is_any(dbk_stream_category(event->stream), filter->categories, filter->category_count));
}

/* The list whose next posting comes first, NULL when all have ended. */
static int next_list(struct dbk_cursor *cursor, struct list **list_out, struct dbk_error *err)
{
    struct list *best = NULL;
    for (size_t i = 0; i < cursor->list_count; i++) {
        struct list *list = &cursor->lists[i];
        if (list->at == list->count && list->count > 0) {
            int rc = fetch(cursor, list, err);
            if (rc < 0)
                return rc;
        }
        if (list->at == list->count)
            continue;
        uint64_t position = list->postings[list->at].position;
        bool sooner = best == NULL ||
                      (cursor->filter.backwards ? position > best->postings[best->at].position
                                                : position < best->postings[best->at].position);
        best = sooner ? list : best;
    }
    *list_out = best;
    return DBK_OK;
}

static int read_position(struct dbk_cursor *cursor, uint64_t position, struct dbk_event *event_out,
                         struct dbk_error *err)
{
    struct dbk_log_place place;
    int rc = dbk_index_place(cursor->store->index, position, &place, err);
    if (rc == DBK_OK)
        rc = dbk_log_read(cursor->store->log, place, &cursor->bytes, event_out, err);
    if (rc == DBK_OK && event_out->position != position)
        rc = dbk_error_set(err, DBK_ECORRUPT,
                           "the index looks for position %ju where the log has %ju",
                           (uintmax_t)position, (uintmax_t)event_out->position);
    return rc < 0 ? rc : 1;
}

static int candidate_of_lists(struct dbk_cursor *cursor, struct dbk_event *event_out,
                              struct dbk_error *err)
{
    struct list *list = NULL;
    int rc = next_list(cursor, &list, err);
    if (rc < 0 || list == NULL)
        return rc;
    return read_position(cursor, list->postings[list->at++].position, event_out, err);
}

static int candidate_of_places(struct dbk_cursor *cursor, struct dbk_event *event_out,
                               struct dbk_error *err)
{
    const struct dbk_filter *filter = &cursor->filter;
    bool back = filter->backwards;
    uint64_t position = cursor->next;
    if (position >= filter->position_min && position <= filter->position_max && position > 0 &&
        has_occurred(filter))
        position = dbk_index_occurred_skip(
            cursor->store->index, position,
            filter->occurred_min_us == 0 ? INT64_MIN : filter->occurred_min_us,
            filter->occurred_max_us == 0 ? INT64_MAX : filter->occurred_max_us, back);
    if (position == 0 || position < filter->position_min || position > filter->position_max) {
        cursor->next = back ? 0 : filter->position_max + 1;
        return 0;
    }
    cursor->next = back ? position - 1 : position + 1;
    return read_position(cursor, position, event_out, err);
}

static int candidate_of_scan(struct dbk_cursor *cursor, struct dbk_event *event_out,
                             struct dbk_error *err)
{
    if (cursor->next > cursor->filter.position_max)
        return 0;
    int rc = dbk_log_scan_next(cursor->scan, event_out, NULL, err);
    if (rc > 0)
        cursor->next = event_out->position + 1;
    return rc;
}

static int candidate(struct dbk_cursor *cursor, struct dbk_event *event_out, struct dbk_error *err)
{
    switch (cursor->source) {
    case SOURCE_LISTS:
        return candidate_of_lists(cursor, event_out, err);
    case SOURCE_SCAN:
        return candidate_of_scan(cursor, event_out, err);
    case SOURCE_PLACES:
        return candidate_of_places(cursor, event_out, err);
    }
    return 0;
}

int dbk_cursor_next(struct dbk_cursor *cursor, struct dbk_event *event_out, struct dbk_error *err)
{
    int rc = 0;
    if (cursor->filter.position_min > cursor->filter.position_max)
        return 0;
    while ((rc = candidate(cursor, event_out, err)) > 0) {
        cursor->position = event_out->position;
        if (passes(&cursor->filter, event_out))
            return 1;
    }
    if (rc == 0)
        cursor->position =
            cursor->filter.backwards ? cursor->filter.position_min : cursor->filter.position_max;
    return rc;
}

uint64_t dbk_cursor_position(const struct dbk_cursor *cursor)
{
    return cursor->position;
}

int dbk_cursor_extend(struct dbk_cursor *cursor, struct dbk_error *err)
{
    dbk_assert(!cursor->pinned && !cursor->filter.backwards);
    int rc = dbk_store_refresh(cursor->store, err);
    uint64_t last = dbk_log_last_position(cursor->store->log);
    if (rc < 0 || last <= cursor->filter.position_max)
        return rc;
    cursor->filter.position_max = last;
    if (cursor->filter.time_max_us != 0)
        rc = bound_times(cursor, err);
    for (size_t i = 0; rc == DBK_OK && i < cursor->list_count && cursor->source == SOURCE_LISTS;
         i++) {
        if (cursor->lists[i].at == cursor->lists[i].count)
            rc = fetch(cursor, &cursor->lists[i], err);
    }
    return rc;
}
