/* SPDX-License-Identifier: Apache-2.0 */
#include "index/run.h"

#include "base/bytes.h"
#include "index/format.h"

int dbk_hash128_compare(struct dbk_hash128 a, struct dbk_hash128 b)
{
    if (a.high != b.high)
        return a.high < b.high ? -1 : 1;
    return a.low == b.low ? 0 : a.low < b.low ? -1 : 1;
}

static int decode_header(struct dbk_slice bytes, const struct dbk_uuid *book, struct dbk_run *run,
                         struct dbk_error *err)
{
    const char *at = bytes.data;
    if (bytes.size < DBK_RUN_HEADER_SIZE + DBK_RUN_FOOTER_SIZE || memcmp(at, DBK_RUN_MAGIC, 8) != 0)
        return dbk_error_set(err, DBK_ECORRUPT, "it is no run of an index");
    if (dbk_get_u32(at + 12) !=
        dbk_crc32c(dbk_get_u32(at + 8), dbk_slice(at + 16, DBK_RUN_HEADER_SIZE - 16)))
        return dbk_error_set(err, DBK_ECORRUPT, "its header's checksum differs");
    if (dbk_get_u32(at + 8) > DBK_INDEX_FORMAT)
        return dbk_error_set(err, DBK_EFORMAT, "index format %u is newer than this Daybook's %d",
                             dbk_get_u32(at + 8), DBK_INDEX_FORMAT);
    if (dbk_get_u32(at + 8) != DBK_INDEX_FORMAT)
        return dbk_error_set(err, DBK_ECORRUPT, "index format %u is made anew as %d",
                             dbk_get_u32(at + 8), DBK_INDEX_FORMAT);
    if (memcmp(at + 32, book->bytes, DBK_UUID_SIZE) != 0)
        return dbk_error_set(err, DBK_ECORRUPT, "it belongs to another book");
    run->first = dbk_get_u64(at + 16);
    run->last = dbk_get_u64(at + 24);
    if (run->first == 0 || run->last < run->first || run->last - run->first >= UINT32_MAX)
        return dbk_error_set(err, DBK_ECORRUPT, "its positions make no sense");
    return DBK_OK;
}

/* The sections' sizes must fill the file to the byte; each is bounded before they are added. */
static bool lay_out(struct dbk_run *run)
{
    const struct dbk_run_counts *counts = &run->counts;
    uint64_t size = run->bytes.size;
    uint64_t events = run->last - run->first + 1;
    if (counts->blocks_size > size || counts->marks > size / DBK_RUN_MARK_SIZE ||
        counts->lines > size / DBK_RUN_LINE_SIZE || counts->zones > size / DBK_RUN_ZONE_SIZE ||
        counts->lines == 0 || counts->marks == 0 || counts->zones == 0)
        return false;
    run->blocks = run->bytes.data + DBK_RUN_HEADER_SIZE;
    run->marks = run->blocks + counts->blocks_size;
    run->filter = run->marks + counts->marks * DBK_RUN_MARK_SIZE;
    run->places = run->filter + counts->lines * DBK_RUN_LINE_SIZE;
    run->zones = run->places + events * DBK_RUN_PLACE_SIZE;
    return run->zones + counts->zones * DBK_RUN_ZONE_SIZE + DBK_RUN_FOOTER_SIZE ==
           run->bytes.data + size;
}

int dbk_run_decode(struct dbk_slice bytes, const struct dbk_uuid *book, struct dbk_run *run_out,
                   struct dbk_error *err)
{
    struct dbk_run run = {.bytes = bytes};
    int rc = decode_header(bytes, book, &run, err);
    if (rc < 0)
        return rc;
    const char *footer = bytes.data + bytes.size - DBK_RUN_FOOTER_SIZE;
    if (dbk_get_u32(footer + 60) != dbk_crc32c(0, dbk_slice(footer, 60)))
        return dbk_error_set(err, DBK_ECORRUPT, "its footer's checksum differs");
    run.counts = (struct dbk_run_counts){.keys = dbk_get_u64(footer),
                                         .streams = dbk_get_u64(footer + 8),
                                         .blocks_size = dbk_get_u64(footer + 16),
                                         .marks = dbk_get_u64(footer + 24),
                                         .lines = dbk_get_u64(footer + 32),
                                         .zones = dbk_get_u64(footer + 40)};
    if (!lay_out(&run))
        return dbk_error_set(err, DBK_ECORRUPT, "its sections do not fill it");
    struct dbk_slice body = dbk_slice(run.blocks, (size_t)(footer - run.blocks));
    if (dbk_get_u32(footer + 56) != dbk_crc32c(0, body))
        return dbk_error_set(err, DBK_ECORRUPT, "its checksum differs");
    *run_out = run;
    return DBK_OK;
}

bool dbk_run_may_have(const struct dbk_run *run, struct dbk_hash128 key)
{
    return dbk_run_line_has(run->filter + dbk_run_line_of(key, run->counts.lines), key);
}

static struct dbk_run_entry mark_at(const struct dbk_run *run, uint64_t mark)
{
    const char *at = run->marks + mark * DBK_RUN_MARK_SIZE;
    return (struct dbk_run_entry){.key = {dbk_get_u64(at), dbk_get_u64(at + 8)},
                                  .rank = dbk_get_u64(at + 16)};
}

static void block_walk(const struct dbk_run *run, uint64_t block, struct dbk_run_walk *walk)
{
    const char *mark = run->marks + block * DBK_RUN_MARK_SIZE;
    uint64_t size = run->counts.blocks_size;
    uint64_t offset = dbk_get_u64(mark + 24);
    uint64_t end =
        block + 1 < run->counts.marks ? dbk_get_u64(mark + DBK_RUN_MARK_SIZE + 24) : size;
    bool sane = offset <= end && end <= size;
    *walk = (struct dbk_run_walk){.run = run,
                                  .at = run->blocks + (sane ? offset : size),
                                  .end = run->blocks + (sane ? end : size)};
}

void dbk_run_walk_init(struct dbk_run_walk *walk, const struct dbk_run *run)
{
    *walk = (struct dbk_run_walk){
        .run = run, .at = run->blocks, .end = run->blocks + run->counts.blocks_size};
}

int dbk_run_walk_next(struct dbk_run_walk *walk)
{
    if (walk->at == walk->end)
        return 0;
    uint64_t head = 0;
    uint64_t value = 0;
    struct dbk_run_entry *entry = &walk->entry;
    if (!dbk_varint_decode(&walk->at, walk->end, &head))
        return DBK_ECORRUPT;
    bool new_key = (head & 1) != 0;
    if (new_key) {
        if (walk->end - walk->at < 16)
            return DBK_ECORRUPT;
        entry->key = (struct dbk_hash128){dbk_get_u64(walk->at), dbk_get_u64(walk->at + 8)};
        walk->at += 16;
    }
    if (!dbk_varint_decode(&walk->at, walk->end, &value))
        return DBK_ECORRUPT;
    entry->rank = (new_key ? 0 : entry->rank) + (head >> 1);
    entry->position = (new_key ? walk->run->first : entry->position) + value;
    return entry->position >= walk->run->first && entry->position <= walk->run->last ? 1
                                                                                     : DBK_ECORRUPT;
}

static int compare(const struct dbk_run_entry *entry, struct dbk_hash128 key, uint64_t rank)
{
    int order = dbk_hash128_compare(entry->key, key);
    if (order != 0)
        return order;
    return entry->rank == rank ? 0 : entry->rank < rank ? -1 : 1;
}

/* The last block that begins at or before (key, rank); 0 when none does. */
static uint64_t block_of(const struct dbk_run *run, struct dbk_hash128 key, uint64_t rank)
{
    uint64_t low = 0;
    uint64_t high = run->counts.marks;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        struct dbk_run_entry mark = mark_at(run, middle);
        if (compare(&mark, key, rank) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static bool wanted(const struct dbk_run_entry *entry, const struct dbk_index_range *range)
{
    return entry->rank >= range->rank_min && entry->rank <= range->rank_max &&
           entry->position <= range->position_max;
}

static int find_forwards(const struct dbk_run *run, struct dbk_hash128 key,
                         const struct dbk_index_range *range, struct dbk_posting *postings,
                         size_t max, size_t *count)
{
    struct dbk_run_walk walk;
    int rc = 0;
    block_walk(run, block_of(run, key, range->rank_min), &walk);
    walk.end = run->blocks + run->counts.blocks_size;
    while (*count < max && (rc = dbk_run_walk_next(&walk)) > 0) {
        if (compare(&walk.entry, key, range->rank_max) > 0)
            return DBK_OK;
        if (dbk_hash128_compare(walk.entry.key, key) == 0 && wanted(&walk.entry, range))
            postings[(*count)++] = (struct dbk_posting){walk.entry.rank, walk.entry.position};
    }
    return rc < 0 ? rc : DBK_OK;
}

/* A block is read forwards twice: to count what fits, then to keep the last of it, reversed. */
static int find_in_block(const struct dbk_run *run, uint64_t block, struct dbk_hash128 key,
                         const struct dbk_index_range *range, struct dbk_posting *postings,
                         size_t max, size_t *count)
{
    struct dbk_run_walk walk;
    size_t fitting = 0;
    int rc = 0;
    block_walk(run, block, &walk);
    while ((rc = dbk_run_walk_next(&walk)) > 0)
        fitting += dbk_hash128_compare(walk.entry.key, key) == 0 && wanted(&walk.entry, range);
    if (rc < 0)
        return rc;
    size_t room = max - *count;
    size_t kept = fitting < room ? fitting : room;
    size_t seen = 0;
    block_walk(run, block, &walk);
    while ((rc = dbk_run_walk_next(&walk)) > 0) {
        if (dbk_hash128_compare(walk.entry.key, key) != 0 || !wanted(&walk.entry, range))
            continue;
        if (seen++ >= fitting - kept)
            postings[*count + fitting - seen] =
                (struct dbk_posting){walk.entry.rank, walk.entry.position};
    }
    *count += kept;
    return rc;
}

static int find_backwards(const struct dbk_run *run, struct dbk_hash128 key,
                          const struct dbk_index_range *range, struct dbk_posting *postings,
                          size_t max, size_t *count)
{
    for (uint64_t block = block_of(run, key, range->rank_max);; block--) {
        int rc = find_in_block(run, block, key, range, postings, max, count);
        if (rc < 0)
            return rc;
        struct dbk_run_entry mark = mark_at(run, block);
        if (*count == max || block == 0 || compare(&mark, key, range->rank_min) < 0)
            return DBK_OK;
    }
}

int dbk_run_find(const struct dbk_run *run, struct dbk_hash128 key,
                 const struct dbk_index_range *range, struct dbk_posting *postings, size_t max,
                 size_t *count)
{
    if (*count == max || !dbk_run_may_have(run, key))
        return DBK_OK;
    return range->backwards ? find_backwards(run, key, range, postings, max, count)
                            : find_forwards(run, key, range, postings, max, count);
}

struct dbk_log_place dbk_run_place(const struct dbk_run *run, uint64_t position)
{
    const char *at = run->places + (position - run->first) * DBK_RUN_PLACE_SIZE;
    return (struct dbk_log_place){dbk_get_u32(at), dbk_get_u32(at + 4)};
}

struct dbk_run_zone dbk_run_zone_at(const struct dbk_run *run, uint64_t zone)
{
    const char *at = run->zones + zone * DBK_RUN_ZONE_SIZE;
    return (struct dbk_run_zone){dbk_get_u64(at), dbk_get_i64(at + 8), dbk_get_i64(at + 16),
                                 dbk_get_i64(at + 24), dbk_get_i64(at + 32)};
}
