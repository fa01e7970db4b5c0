/* SPDX-License-Identifier: Apache-2.0 */
#include "index/merge.h"

#include "base/assert.h"

/* Counts what is written, so that others have their turn. */
struct turns {
    dbk_run_pause_fn pause;
    void *context;
    uint64_t count;
};

static int take_turn(struct turns *turns, struct dbk_error *err)
{
    return ++turns->count % DBK_MERGE_PAUSE == 0 ? turns->pause(turns->context, err) : DBK_OK;
}

static int unreadable(const struct dbk_run *const *runs, int rc, struct dbk_error *err)
{
    return dbk_error_set(err, rc, "a run of the index that begins at %ju cannot be read",
                         (uintmax_t)runs[0]->first);
}

/* Runs are few: the smallest key is found by looking at each, the older run first among equals, so
   that a key's ranks stay ascending. */
static int merge_entries(const struct dbk_run *const *runs, size_t count,
                         struct dbk_run_writer *writer, struct turns *turns, struct dbk_error *err)
{
    struct dbk_run_walk walks[DBK_MERGE_RUNS];
    bool live[DBK_MERGE_RUNS];
    struct dbk_run_entry last = {0};
    bool begun = false;
    for (size_t i = 0; i < count; i++) {
        dbk_run_walk_init(&walks[i], runs[i]);
        int rc = dbk_run_walk_next(&walks[i]);
        if (rc < 0)
            return unreadable(runs, rc, err);
        live[i] = rc > 0;
    }
    for (;;) {
        size_t best = count;
        for (size_t i = 0; i < count; i++) {
            if (live[i] && (best == count ||
                            dbk_hash128_compare(walks[i].entry.key, walks[best].entry.key) < 0))
                best = i;
        }
        if (best == count)
            return DBK_OK;
        struct dbk_run_entry *entry = &walks[best].entry;
        int order = dbk_hash128_compare(entry->key, last.key);
        if (begun && (order < 0 || (order == 0 && (entry->rank <= last.rank ||
                                                   entry->position <= last.position))))
            return unreadable(runs, DBK_ECORRUPT, err);
        begun = true;
        last = *entry;
        dbk_run_writer_entry(writer, entry);
        int rc = dbk_run_walk_next(&walks[best]);
        if (rc < 0)
            return unreadable(runs, rc, err);
        live[best] = rc > 0;
        rc = take_turn(turns, err);
        if (rc < 0)
            return rc;
    }
}

int dbk_run_merge(const struct dbk_run *const *runs, size_t count, struct dbk_run_writer *writer,
                  dbk_run_pause_fn pause, void *context, struct dbk_error *err)
{
    struct turns turns = {pause, context, 0};
    uint64_t streams = 0;
    dbk_assert(count <= DBK_MERGE_RUNS);
    int rc = merge_entries(runs, count, writer, &turns, err);
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        for (uint64_t at = runs[i]->first; rc == DBK_OK && at <= runs[i]->last; at++) {
            dbk_run_writer_place(writer, dbk_run_place(runs[i], at));
            rc = take_turn(&turns, err);
        }
        streams += runs[i]->counts.streams;
    }
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        for (uint64_t zone = 0; zone < runs[i]->counts.zones; zone++) {
            struct dbk_run_zone copy = dbk_run_zone_at(runs[i], zone);
            dbk_run_writer_zone(writer, &copy);
        }
    }
    return dbk_run_writer_finish(writer, streams, err);
}
