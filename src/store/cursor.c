/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cursor walks candidates, in order, and hands out those that pass its filter. Candidates come
 * from one of three places:
 *
 *     lists  postings of a stream, of several categories or types, or of a query, by position
 *     scan   the log itself, group by group: everything, or lists too dense to be worth it
 *     places one record after the other by its place: backwards, and where occurred times skip
 */
#include "base/assert.h"
#include "store/match.h"
#include "store/rules.h"

/* Postings that a list fetches at once. */
#define LIST_POSTINGS 256

/* Positions of lists that are looked up ahead, so that their records come from memory together. */
#define AHEAD_MAX 16

enum source { SOURCE_LISTS, SOURCE_SCAN, SOURCE_PLACES };

struct dbk_cursor {
    struct dbk_store *store;
    struct dbk_arena arena;
    struct dbk_filter filter;
    bool pinned; /* position_max was given */
    enum source source;
    struct dbk_match match; /* of SOURCE_LISTS */
    uint64_t ahead[AHEAD_MAX];
    struct dbk_log_place places[AHEAD_MAX];
    size_t ahead_at;
    size_t ahead_count;
    size_t ahead_wanted; /* doubles: whoever reads on will read more */
    struct dbk_log_scan *scan;
    uint64_t next;     /* the next position to look at */
    uint64_t position; /* everything up to it (backwards: down to it) has been looked at */
    struct dbk_log_reader reader;
    void *lens; /* the lens's state of this reader */
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

static int copy_query(struct dbk_cursor *cursor, const struct dbk_query *query)
{
    struct dbk_query_item *items =
        dbk_arena_alloc_zero(&cursor->arena, query->count + 1, sizeof(*items));
    int rc = items == NULL ? DBK_ENOMEM : DBK_OK;
    for (size_t i = 0; i < query->count && rc == DBK_OK; i++) {
        items[i] = query->items[i];
        rc = copy_slices(cursor, query->items[i].types, items[i].type_count, &items[i].types);
        if (rc == DBK_OK)
            rc = copy_slices(cursor, query->items[i].tags, items[i].tag_count, &items[i].tags);
    }
    cursor->filter.query.items = items;
    return rc;
}

static int copy_filter(struct dbk_cursor *cursor, const struct dbk_filter *filter)
{
    struct dbk_filter *copy = &cursor->filter;
    *copy = *filter;
    copy->stream = dbk_arena_copy(&cursor->arena, filter->stream);
    copy->stream_prefix = dbk_arena_copy(&cursor->arena, filter->stream_prefix);
    copy->correlation = dbk_arena_copy(&cursor->arena, filter->correlation);
    int rc = copy_slices(cursor, filter->categories, filter->category_count, &copy->categories);
    if (rc == DBK_OK)
        rc = copy_slices(cursor, filter->types, filter->type_count, &copy->types);
    return rc == DBK_OK ? copy_query(cursor, &filter->query) : rc;
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

/* What the stream's rules leave out. */
static int bound_stream(struct dbk_cursor *cursor, struct dbk_error *err)
{
    struct dbk_filter *filter = &cursor->filter;
    uint64_t version = 0;
    int64_t time_us = 0;
    if (filter->stream.size == 0 || filter->removed)
        return DBK_OK;
    int rc = dbk_rules_bounds(cursor->store, filter->stream, &version, &time_us, err);
    if (version > filter->version_min)
        filter->version_min = version;
    if (time_us > filter->time_min_us)
        filter->time_min_us = time_us;
    return rc;
}

static int begin_match(struct dbk_cursor *cursor, size_t items, size_t groups, size_t lists,
                       struct dbk_error *err)
{
    cursor->source = SOURCE_LISTS;
    cursor->match = (struct dbk_match){.index = cursor->store->index,
                                       .backwards = cursor->filter.backwards,
                                       .position_min = cursor->filter.position_min,
                                       .position_max = cursor->filter.position_max,
                                       .room = LIST_POSTINGS};
    return dbk_match_init(&cursor->match, items, groups, lists, NULL, err);
}

static int open_stream(struct dbk_cursor *cursor, struct dbk_error *err)
{
    const struct dbk_filter *filter = &cursor->filter;
    int rc = begin_match(cursor, 1, 1, 1, err);
    if (rc < 0)
        return rc;
    dbk_match_add_item(&cursor->match);
    dbk_match_add_group(&cursor->match);
    dbk_match_add_list(&cursor->match, DBK_INDEX_STREAM, filter->stream, filter->version_min,
                       filter->version_max == 0 ? UINT64_MAX : filter->version_max);
    return DBK_OK;
}

static int open_lists(struct dbk_cursor *cursor, const struct dbk_slice *names, size_t count,
                      enum dbk_index_kind kind, struct dbk_error *err)
{
    int rc = begin_match(cursor, 1, 1, count, err);
    if (rc < 0)
        return rc;
    dbk_match_add_item(&cursor->match);
    dbk_match_add_group(&cursor->match);
    for (size_t i = 0; i < count; i++)
        dbk_match_add_list(&cursor->match, kind, names[i], 0, UINT64_MAX);
    return DBK_OK;
}

/* A query one of whose items everything matches needs no look-ups. */
static bool has_names(const struct dbk_query *query)
{
    for (size_t i = 0; i < query->count; i++) {
        if (query->items[i].type_count == 0 && query->items[i].tag_count == 0)
            return false;
    }
    return query->count > 0;
}

static int open_query(struct dbk_cursor *cursor, struct dbk_error *err)
{
    const struct dbk_query *query = &cursor->filter.query;
    size_t groups = 0;
    size_t lists = 0;
    dbk_match_count(query, &groups, &lists);
    int rc = begin_match(cursor, query->count, groups, lists, err);
    if (rc == DBK_OK)
        dbk_match_add_query(&cursor->match, query);
    return rc;
}

static int open_scan(struct dbk_cursor *cursor, struct dbk_error *err)
{
    struct dbk_log_place place = {0, 0};
    uint64_t position = 0;
    int rc = DBK_OK;
    if (cursor->next > 1 && cursor->next <= dbk_index_last(cursor->store->index)) {
        position = cursor->next;
        rc = dbk_index_place(cursor->store->index, position, &place, err);
    } else if (cursor->next > 1) {
        place = dbk_log_end(cursor->store->log);
    }
    cursor->source = SOURCE_SCAN;
    if (rc < 0)
        return rc;
    return dbk_log_scan_open(cursor->store->log, place, position, &cursor->scan, err);
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
        return open_stream(cursor, err);
    if (filter->correlation.size > 0)
        rc = open_lists(cursor, &filter->correlation, 1, DBK_INDEX_CORRELATION, err);
    else if (has_names(&filter->query))
        rc = open_query(cursor, err);
    else if (filter->type_count > 0)
        rc = open_lists(cursor, filter->types, filter->type_count, DBK_INDEX_TYPE, err);
    else if (filter->category_count > 0)
        rc =
            open_lists(cursor, filter->categories, filter->category_count, DBK_INDEX_CATEGORY, err);
    else if (dash != NULL)
        rc = open_lists(cursor, &category, 1, DBK_INDEX_CATEGORY, err);
    bool by_place = filter->backwards || has_occurred(filter);
    bool lists = cursor->match.item_count > 0;
    if (rc < 0 || (lists && (by_place || !dbk_match_is_dense(&cursor->match, err))))
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
    dbk_log_reader_init(&cursor->reader);
    uint64_t last = dbk_store_end_of(store, filter);
    if (copy_filter(cursor, filter) < 0) {
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading");
        goto out;
    }
    cursor->pinned = filter->position_max != 0;
    if (cursor->filter.position_max == 0 || cursor->filter.position_max > last)
        cursor->filter.position_max = last;
    if (cursor->filter.position_min == 0)
        cursor->filter.position_min = 1;
    rc = bound_stream(cursor, err);
    if (rc == DBK_OK)
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
    dbk_store_end_lens(cursor->store, &cursor->lens);
    dbk_log_scan_free(cursor->scan);
    dbk_match_release(&cursor->match);
    dbk_log_reader_release(&cursor->reader);
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

static bool is_correlated(const struct dbk_event *event, struct dbk_slice wanted)
{
    char room[DBK_CORRELATION_SIZE_MAX];
    struct dbk_slice correlation;
    return dbk_event_correlation(event, room, &correlation) && dbk_slice_equal(correlation, wanted);
}

static bool passes(const struct dbk_filter *filter, const struct dbk_event *event)
{
    int64_t occurred = event->occurred_us == DBK_TIME_NONE ? event->time_us : event->occurred_us;
    return (filter->stream.size == 0 || dbk_slice_equal(event->stream, filter->stream)) &&
           dbk_slice_starts_with(event->stream, filter->stream_prefix) &&
           (filter->removed || (event->flags & DBK_RECORD_REMOVED) == 0) &&
           (filter->hidden || event->stream.size == 0 || event->stream.data[0] != '$') &&
           event->position >= filter->position_min && event->position <= filter->position_max &&
           (filter->version_min == 0 || event->version >= filter->version_min) &&
           (filter->version_max == 0 || event->version <= filter->version_max) &&
           (filter->time_min_us == 0 || event->time_us >= filter->time_min_us) &&
           (filter->time_max_us == 0 || event->time_us <= filter->time_max_us) &&
           (filter->occurred_min_us == 0 || occurred >= filter->occurred_min_us) &&
           (filter->occurred_max_us == 0 || occurred <= filter->occurred_max_us) &&
           is_any(event->type, filter->types, filter->type_count) &&
           (filter->correlation.size == 0 || is_correlated(event, filter->correlation)) &&
           (filter->query.count == 0 || dbk_query_matches(&filter->query, event)) &&
           (filter->category_count == 0 ||
            is_any(dbk_stream_category(event->stream), filter->categories, filter->category_count));
}

static int read_position(struct dbk_cursor *cursor, uint64_t position, struct dbk_event *event_out,
                         struct dbk_error *err)
{
    int rc = dbk_store_read_position(cursor->store, position, &cursor->reader, event_out, err);
    return rc < 0 ? rc : 1;
}

/* Looks up the next positions of the lists, and has their records fetched. */
static int look_ahead(struct dbk_cursor *cursor, struct dbk_error *err)
{
    size_t wanted = cursor->ahead_wanted == 0 ? 1 : cursor->ahead_wanted;
    cursor->ahead_at = 0;
    cursor->ahead_count = 0;
    while (cursor->ahead_count < wanted && cursor->next != 0) {
        uint64_t position = 0;
        int rc = dbk_match_next(&cursor->match, cursor->next, &position, err);
        if (rc < 0)
            return rc;
        if (position == 0 || position < cursor->filter.position_min ||
            position > cursor->filter.position_max)
            break;
        cursor->next = cursor->filter.backwards ? position - 1 : position + 1;
        cursor->ahead[cursor->ahead_count++] = position;
    }
    int rc = dbk_index_places(cursor->store->index, cursor->ahead, cursor->ahead_count,
                              cursor->places, err);
    for (size_t i = 0; rc == DBK_OK && i < cursor->ahead_count; i++)
        dbk_log_prefetch(cursor->store->log, cursor->places[i]);
    cursor->ahead_wanted = wanted < AHEAD_MAX ? wanted * 2 : wanted;
    return rc;
}

static int candidate_of_lists(struct dbk_cursor *cursor, struct dbk_event *event_out,
                              struct dbk_error *err)
{
    int rc = cursor->ahead_at == cursor->ahead_count ? look_ahead(cursor, err) : DBK_OK;
    if (rc < 0 || cursor->ahead_at == cursor->ahead_count)
        return rc;
    size_t at = cursor->ahead_at++;
    rc = dbk_log_read(cursor->store->log, cursor->places[at], cursor->ahead[at], &cursor->reader,
                      event_out, err);
    return rc < 0 ? rc : 1;
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

/* 1: the event as its reader wants it; 0: it is left out. */
static int look_through(struct dbk_cursor *cursor, struct dbk_event *event, struct dbk_error *err)
{
    if (cursor->filter.raw)
        return 1;
    int rc = dbk_store_open_event(cursor->store, &cursor->lens, event, err);
    if (rc <= 0 || cursor->filter.as_written)
        return rc;
    return dbk_store_upcast_event(cursor->store, &cursor->lens, event, err);
}

int dbk_cursor_next(struct dbk_cursor *cursor, struct dbk_event *event_out, struct dbk_error *err)
{
    int rc = 0;
    if (cursor->filter.position_min > cursor->filter.position_max)
        return 0;
    while ((rc = candidate(cursor, event_out, err)) > 0) {
        cursor->position = event_out->position;
        if (!passes(&cursor->filter, event_out))
            continue;
        rc = look_through(cursor, event_out, err);
        if (rc != 0)
            return rc;
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
    uint64_t last = dbk_store_end_of(cursor->store, &cursor->filter);
    if (rc < 0 || last <= cursor->filter.position_max)
        return rc;
    cursor->filter.position_max = last;
    if (cursor->filter.time_max_us != 0)
        rc = bound_times(cursor, err);
    cursor->match.position_max = cursor->filter.position_max;
    return rc;
}
