/* SPDX-License-Identifier: Apache-2.0 */
#include "store/match.h"

#include "base/assert.h"

/* A list with a posting in every so many positions is read by scanning. */
#define DENSE 4

int dbk_match_init(struct dbk_match *match, size_t items, size_t groups, size_t lists, void *memory,
                   struct dbk_error *err)
{
    size_t size = items * sizeof(*match->items) + groups * sizeof(*match->groups) +
                  lists * (sizeof(*match->lists) + match->room * sizeof(*match->postings));
    match->memory = NULL;
    match->item_count = match->group_count = match->list_count = 0;
    if (memory == NULL || size > DBK_MATCH_MEMORY) {
        memory = match->memory = dbk_alloc(size);
        if (memory == NULL)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory looking for %zu names", lists);
    }
    match->postings = memory;
    match->lists = (void *)(match->postings + lists * match->room);
    match->items = (void *)(match->lists + lists);
    match->groups = (void *)(match->items + items);
    return DBK_OK;
}

void dbk_match_release(struct dbk_match *match)
{
    dbk_free(match->memory);
    match->memory = NULL;
}

void dbk_match_add_item(struct dbk_match *match)
{
    match->items[match->item_count++] =
        (struct dbk_match_item){.groups = match->groups + match->group_count};
}

void dbk_match_add_group(struct dbk_match *match)
{
    match->groups[match->group_count++] =
        (struct dbk_match_group){.lists = match->lists + match->list_count};
    match->items[match->item_count - 1].count++;
}

void dbk_match_add_list(struct dbk_match *match, enum dbk_index_kind kind, struct dbk_slice name,
                        uint64_t rank_min, uint64_t rank_max)
{
    struct dbk_match_group *group = &match->groups[match->group_count - 1];
    if (name.size > DBK_STREAM_SIZE_MAX)
        return; /* no event has it */
    struct dbk_hash128 key = dbk_index_key(match->index, kind, name);
    for (size_t i = 0; i < group->count; i++) {
        if (group->lists[i].key.high == key.high && group->lists[i].key.low == key.low)
            return;
    }
    match->lists[match->list_count] =
        (struct dbk_match_list){.kind = kind,
                                .key = key,
                                .rank_min = rank_min,
                                .rank_max = rank_max,
                                .postings = match->postings + match->list_count * match->room};
    match->list_count++;
    group->count++;
}

void dbk_match_count(const struct dbk_query *query, size_t *groups_out, size_t *lists_out)
{
    *groups_out = 0;
    *lists_out = 0;
    for (size_t i = 0; i < query->count; i++) {
        const struct dbk_query_item *item = &query->items[i];
        *groups_out += item->tag_count + (item->type_count > 0);
        *lists_out += item->tag_count + item->type_count;
    }
}

void dbk_match_add_query(struct dbk_match *match, const struct dbk_query *query)
{
    for (size_t i = 0; i < query->count; i++) {
        const struct dbk_query_item *item = &query->items[i];
        dbk_match_add_item(match);
        for (size_t tag = 0; tag < item->tag_count; tag++) {
            dbk_match_add_group(match);
            dbk_match_add_list(match, DBK_INDEX_TAG, item->tags[tag], 0, UINT64_MAX);
        }
        if (item->type_count > 0)
            dbk_match_add_group(match);
        for (size_t type = 0; type < item->type_count; type++)
            dbk_match_add_list(match, DBK_INDEX_TYPE, item->types[type], 0, UINT64_MAX);
    }
}

static bool is_before(const struct dbk_match *match, uint64_t position, uint64_t from)
{
    return match->backwards ? position > from : position < from;
}

/* Fetches postings from a position on; for a stream, the next ones. */
static int fetch(struct dbk_match *match, struct dbk_match_list *list, uint64_t from,
                 struct dbk_error *err)
{
    bool back = match->backwards;
    struct dbk_index_range range = {.rank_min = list->rank_min,
                                    .rank_max = list->rank_max,
                                    .position_max = match->position_max,
                                    .backwards = back};
    if (list->kind != DBK_INDEX_STREAM) {
        uint64_t low = back ? match->position_min : from;
        uint64_t high = back && from < match->position_max ? from : match->position_max;
        range.rank_min = low > range.rank_min ? low : range.rank_min;
        range.rank_max = high < range.rank_max ? high : range.rank_max;
    }
    list->at = 0;
    list->count = 0;
    if (range.rank_min > range.rank_max)
        return DBK_OK;
    int rc = dbk_index_find_key(match->index, list->kind, list->key, &range, list->postings,
                                match->room, &list->count, err);
    if (rc < 0)
        return rc;
    list->fetched_to = list->count < match->room ? match->position_max : 0;
    if (list->count == 0)
        return DBK_OK;
    uint64_t last = list->postings[list->count - 1].rank;
    if (!back)
        list->rank_min = last + 1;
    else if (last > 0)
        list->rank_max = last - 1;
    else
        list->rank_min = 1, list->rank_max = 0;
    return DBK_OK;
}

/* The list's first position from `from` on; 0: none. */
static int seek_list(struct dbk_match *match, struct dbk_match_list *list, uint64_t from,
                     uint64_t *position_out, struct dbk_error *err)
{
    *position_out = 0;
    for (;;) {
        while (list->at < list->count && is_before(match, list->postings[list->at].position, from))
            list->at++;
        if (list->at < list->count) {
            *position_out = list->postings[list->at].position;
            return DBK_OK;
        }
        if (list->fetched_to == match->position_max)
            return DBK_OK;
        int rc = fetch(match, list, from, err);
        if (rc < 0 || list->count == 0)
            return rc;
    }
}

static int seek_group(struct dbk_match *match, struct dbk_match_group *group, uint64_t from,
                      uint64_t *position_out, struct dbk_error *err)
{
    uint64_t best = 0;
    for (size_t i = 0; i < group->count; i++) {
        uint64_t position = 0;
        int rc = seek_list(match, &group->lists[i], from, &position, err);
        if (rc < 0)
            return rc;
        if (position > 0 && (best == 0 || is_before(match, position, best)))
            best = position;
    }
    *position_out = best;
    return DBK_OK;
}

static int seek_item(struct dbk_match *match, struct dbk_match_item *item, uint64_t from,
                     struct dbk_error *err)
{
    size_t agreed = 0;
    for (size_t at = 0; agreed < item->count; at = (at + 1) % item->count) {
        uint64_t position = 0;
        int rc = seek_group(match, &item->groups[at], from, &position, err);
        if (rc < 0)
            return rc;
        if (position == 0) {
            item->candidate = 0;
            return DBK_OK;
        }
        agreed = position == from ? agreed + 1 : 1;
        from = position;
    }
    item->candidate = from;
    return DBK_OK;
}

int dbk_match_next(struct dbk_match *match, uint64_t from, uint64_t *position_out,
                   struct dbk_error *err)
{
    uint64_t best = 0;
    for (size_t i = 0; i < match->item_count; i++) {
        struct dbk_match_item *item = &match->items[i];
        int rc = item->candidate == 0 || is_before(match, item->candidate, from)
                     ? seek_item(match, item, from, err)
                     : DBK_OK;
        if (rc < 0)
            return rc;
        if (item->candidate > 0 && (best == 0 || is_before(match, item->candidate, best)))
            best = item->candidate;
    }
    *position_out = best;
    return DBK_OK;
}

bool dbk_match_is_dense(struct dbk_match *match, struct dbk_error *err)
{
    for (size_t i = 0; i < match->item_count; i++) {
        uint64_t first = 0;
        if (match->items[i].count != 1)
            return false;
        struct dbk_match_group *group = &match->items[i].groups[0];
        for (size_t j = 0; j < group->count; j++) {
            struct dbk_match_list *list = &group->lists[j];
            if (list->kind == DBK_INDEX_STREAM ||
                seek_list(match, list, match->position_min, &first, err) < 0)
                continue;
            if (list->count == match->room &&
                list->postings[list->count - 1].position - first < match->room * DENSE)
                return true;
        }
    }
    return false;
}

static bool has_tag(struct dbk_slice tags, struct dbk_slice wanted)
{
    struct dbk_slice tag;
    while (dbk_event_next_tag(&tags, &tag)) {
        if (dbk_slice_equal(tag, wanted))
            return true;
    }
    return false;
}

static bool item_matches(const struct dbk_query_item *item, const struct dbk_event *event)
{
    bool any = item->type_count == 0;
    for (size_t i = 0; i < item->type_count && !any; i++)
        any = dbk_slice_equal(item->types[i], event->type);
    for (size_t i = 0; i < item->tag_count && any; i++)
        any = has_tag(event->tags, item->tags[i]);
    return any;
}

bool dbk_query_matches(const struct dbk_query *query, const struct dbk_event *event)
{
    if ((event->flags & DBK_RECORD_REMOVED) != 0)
        return false;
    for (size_t i = 0; i < query->count; i++) {
        if (item_matches(&query->items[i], event))
            return true;
    }
    return false;
}
