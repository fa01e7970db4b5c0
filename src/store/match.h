/* SPDX-License-Identifier: Apache-2.0 */
/*
 * match -- positions that may match, looked up in the index.
 *
 * A match is any of its items; an item is all of its groups; a group is any of its lists; a list is
 * the postings of one name. So `(type A or B) and tag x and tag y, or type C` has two items, of
 * three groups and of one. Groups leapfrog: each is asked for its first position from where another
 * stands, so that the rarest one decides what it costs.
 *
 * Whoever uses it compares names with the event itself.
 *
 * Threads: a match belongs to one thread at a time.
 * Source:  Baeza-Yates, A Fast Set Intersection Algorithm for Sorted Sequences, 2004.
 */
#ifndef DBK_STORE_MATCH_H
#define DBK_STORE_MATCH_H

#include "index/index.h"
#include "store/store.h"

struct dbk_match_list {
    enum dbk_index_kind kind;
    struct dbk_hash128 key;
    uint64_t rank_min; /* what is still to be fetched */
    uint64_t rank_max;
    uint64_t fetched_to; /* by the last fetch everything up to this position_max was had; 0: not */
    size_t at;
    size_t count;
    struct dbk_posting *postings;
};

struct dbk_match_group {
    struct dbk_match_list *lists;
    size_t count;
};

struct dbk_match_item {
    struct dbk_match_group *groups;
    size_t count;
    uint64_t candidate; /* 0: not looked up */
};

struct dbk_match {
    struct dbk_index *index;
    bool backwards;
    uint64_t position_min;
    uint64_t position_max; /* may be raised between calls */
    size_t room;           /* postings fetched at once */
    struct dbk_match_item *items;
    size_t item_count;
    struct dbk_match_group *groups;
    size_t group_count;
    struct dbk_match_list *lists;
    size_t list_count;
    struct dbk_posting *postings;
    void *memory; /* owned; NULL: the caller's was enough */
};

/* Room a match takes for queries of a few names. */
#define DBK_MATCH_MEMORY ((size_t)4096)

/*
 * Makes room for so many names in so many items and groups. Set index, backwards, positions and
 * room before. memory: DBK_MATCH_MEMORY bytes, aligned, used when they are enough, until
 * dbk_match_release; NULL: none.
 */
int dbk_match_init(struct dbk_match *match, size_t items, size_t groups, size_t lists, void *memory,
                   struct dbk_error *err) DBK_MUST_CHECK;
void dbk_match_release(struct dbk_match *match);

void dbk_match_add_item(struct dbk_match *match);
/* To the last item. */
void dbk_match_add_group(struct dbk_match *match);
/* To the last group. A stream's ranks are versions; others take 0 and UINT64_MAX. A name twice
   counts once. */
void dbk_match_add_list(struct dbk_match *match, enum dbk_index_kind kind, struct dbk_slice name,
                        uint64_t rank_min, uint64_t rank_max);
/* A query's items, each with at least a type or a tag. */
void dbk_match_add_query(struct dbk_match *match, const struct dbk_query *query);
/* What dbk_match_init needs for that. */
void dbk_match_count(const struct dbk_query *query, size_t *groups_out, size_t *lists_out);

/* The first position from `from` on (backwards: down) that may match; 0: none. Calls go one way. */
int dbk_match_next(struct dbk_match *match, uint64_t from, uint64_t *position_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* True when a list's first postings lie so close together that scanning the log is faster. */
bool dbk_match_is_dense(struct dbk_match *match, struct dbk_error *err);

/* Whether an event matches a query. Removed events match none. */
bool dbk_query_matches(const struct dbk_query *query, const struct dbk_event *event);

#endif
