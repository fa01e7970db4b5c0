/* SPDX-License-Identifier: Apache-2.0 */
/*
 * states -- the store on a simulated disk that crashes, fails and rots, for as long as told.
 *
 *     states --kind crash|calls|alloc|bits [--seed N] [--count N] [--seconds N]
 *            [--larger BYTES] [--from BIT]
 *
 * A workload made of the seed appends batches to several streams, with expectations, tags, ids and
 * sealed fields, sets rules, deletes, erases keys, compacts, reopens. It is struck
 *
 *     crash  by a crash at some call, of which some part of the unsynced is kept; the recovery
 *            often by another one; what it showed must then survive that nothing unsynced is kept
 *     calls  by a failing call, once or for ever, and by a short write
 *     alloc  by a failing allocation, once or for ever
 *     bits   when it is closed, by each flipped bit of each file; fewer are spread over all, and
 *            with --from come one after the other
 *
 * --larger gives every event so many bytes more.
 *
 * The judge is a list: what was attempted at each position, and how much of it was acknowledged.
 * Nothing acknowledged may be lost, nothing else may appear, no ciphertext that a compaction took
 * may come back, damage must be named. Prints counts as a JSON line; ends with 1 and the seed that
 * shows it at the first violation.
 *
 * Threads: the store's own one behind the index; so a seed nearly always, not always, repeats.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "log/sealed.h"
#include "os/sim.h"
#include "store/store.h"

#define STREAMS 5
#define TAGS 4
#define KEYS 3
#define SEALED_EVERY 3 /* so many-th positions have a sealed field */
#define CIPHERTEXT_SIZE 80
#define EVENTS_MAX 700
#define STEPS_MAX 40
#define KEEPS 5
#define PAD_MAX 8000
#define DATA_SIZE_MAX (PAD_MAX + 512)

struct entry {
    unsigned stream; /* STREAMS and on: rules of the stream it is less STREAMS */
    uint64_t version;
    unsigned tags; /* bit n: it has tag gn */
    unsigned nonce;
    bool batch_end;
};

struct world {
    struct dbk_sim *sim;
    struct dbk_store *store;
    uint64_t random;
    struct entry entries[EVENTS_MAX + 1];
    uint64_t acknowledged;
    uint64_t attempted;
    uint64_t cut_known[STREAMS]; /* truncate before, acknowledged */
    uint64_t cut_tried[STREAMS]; /* or perhaps stored */
    unsigned erased_tried;       /* keys whose ciphertexts a compaction perhaps took */
    uint64_t erased_up_to[KEYS]; /* and took for certain, up to a position */
    unsigned nonce;
    bool stopped; /* the store takes no more */
    char why[1024];
};

struct counts {
    uint64_t crash_states;
    uint64_t call_failures;
    uint64_t allocation_failures;
    uint64_t bits;
};

static uint64_t current_seed;
static size_t larger; /* bytes more in every event */
static struct counts counts;

static void violation(const char *what, uint64_t a, uint64_t b)
{
    (void)printf("VIOLATION: %s (%" PRIu64 ", %" PRIu64 ") with seed %" PRIu64 "\n", what, a, b,
                 current_seed);
    exit(1);
}

static void require(bool holds, const char *what, uint64_t a, uint64_t b)
{
    if (!holds)
        violation(what, a, b);
}

/* splitmix64 */
static uint64_t chance(struct world *world, uint64_t below)
{
    uint64_t mixed = world->random += UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return (mixed ^ mixed >> 31) % below;
}

static struct dbk_slice stream_name(unsigned stream, char text[24])
{
    int size = stream < STREAMS
                   ? snprintf(text, 24, "c%u-%u", stream % 2, stream)
                   : snprintf(text, 24, "$stream-c%u-%u", (stream - STREAMS) % 2, stream - STREAMS);
    return dbk_slice(text, (size_t)size);
}

static struct dbk_slice data_of(uint64_t position, unsigned nonce, char text[DATA_SIZE_MAX])
{
    int size =
        snprintf(text, DATA_SIZE_MAX, "{\"p\":%" PRIu64 ",\"n\":%u,\"pad\":\"", position, nonce);
    size_t pad = (size_t)(position * 7919 % (position % 9 == 0 ? 400 : 40)) + larger;
    memset(text + size, 'x', pad);
    memcpy(text + size + pad, "\"}", 2);
    return dbk_slice(text, (size_t)size + pad + 2);
}

/* The same, made once for as long as it is asked for with the same nonce. */
static struct dbk_slice known_data_of(uint64_t position, unsigned nonce)
{
    static struct {
        char text[DATA_SIZE_MAX];
        size_t size; /* 0: not made yet */
        unsigned nonce;
    } known[EVENTS_MAX + 1];
    if (known[position].size == 0 || known[position].nonce != nonce) {
        known[position].size = data_of(position, nonce, known[position].text).size;
        known[position].nonce = nonce;
    }
    return dbk_slice(known[position].text, known[position].size);
}

/* ---- Sealed fields: one of every third event's, under one of a few keys ---- */

static bool is_sealed(uint64_t position)
{
    return position % SEALED_EVERY == 0;
}

static unsigned key_number(uint64_t position)
{
    return (unsigned)(position / SEALED_EVERY % KEYS);
}

static struct dbk_uuid key_of(unsigned number)
{
    return (struct dbk_uuid){.bytes = {(uint8_t)number, 0xfe}};
}

#define SEALED_SIZE_MAX 200

/* As it was appended, or as compaction leaves it: made by hand, as memory may fail. */
static struct dbk_slice sealed_of(uint64_t position, unsigned nonce, bool dropped,
                                  char text[SEALED_SIZE_MAX])
{
    static const char path[] = "name";
    char value[CIPHERTEXT_SIZE];
    size_t size = sizeof(value);
    struct dbk_uuid key = key_of(key_number(position));
    char *at = text + sizeof(uint16_t);
    if (!is_sealed(position))
        return (struct dbk_slice){0};
    memset(value, (int)(position * 31 + nonce), sizeof(value));
    if (dropped) {
        uint8_t digest[DBK_SHA256_SIZE];
        dbk_sha256_of(dbk_slice(value, sizeof(value)), digest);
        size = sizeof(digest);
        memcpy(value, digest, size);
    }
    dbk_put_u16(text, 1);
    dbk_put_u16(at, sizeof(path) - 1);
    dbk_put_u16(at + 2, dropped ? DBK_SEALED_DIGEST : DBK_SEALED_CIPHERTEXT);
    dbk_put_u32(at + 4, (uint32_t)size);
    memcpy(at + 8, key.bytes, DBK_UUID_SIZE);
    memcpy(at + 24, path, sizeof(path) - 1);
    memcpy(at + 24 + sizeof(path) - 1, value, size);
    return dbk_slice(text, (size_t)(at - text) + 24 + sizeof(path) - 1 + size);
}

static struct dbk_uuid id_of(uint64_t position, unsigned nonce)
{
    struct dbk_uuid id = {{1}};
    memcpy(id.bytes + 4, &nonce, sizeof(nonce));
    memcpy(id.bytes + 8, &position, sizeof(position));
    return id;
}

static int open_store(struct world *world, bool writer, struct dbk_error *err)
{
    world->stopped = false;
    return dbk_store_open(&(struct dbk_store_options){.os = dbk_sim_os(world->sim),
                                                      .folder = "data",
                                                      .writer = writer,
                                                      .segment_size = 2500 + 10 * larger,
                                                      .chunk_events = 32},
                          &world->store, err);
}

static void close_store(struct world *world)
{
    dbk_store_free(world->store);
    world->store = NULL;
}

/* ---- What is done ---- */

/* The last version that was perhaps stored up to a position. */
static uint64_t version_at(const struct world *world, unsigned stream, uint64_t position)
{
    while (position > 0 && world->entries[position].stream != stream)
        position--;
    return position == 0 ? 0 : world->entries[position].version;
}

/* What an append came to: the model follows. */
static void conclude(struct world *world, int rc, uint64_t last)
{
    if (rc == DBK_OK) {
        world->acknowledged = last;
        world->attempted = last;
    } else if (rc == DBK_EUNKNOWN || rc == DBK_ESTOPPED || dbk_sim_crashed(world->sim)) {
        world->stopped = true;
        (void)snprintf(world->why, sizeof(world->why), "%s", dbk_code_name(rc));
        if (rc == DBK_ESTOPPED && !dbk_sim_crashed(world->sim))
            world->attempted = last;
    } else {
        /* Nothing was added; the same positions come again, with another content. */
        require(rc == DBK_EFULL || rc == DBK_EIO || rc == DBK_ENOMEM || rc == DBK_EDENIED,
                "an append failed strangely", (uint64_t)-rc, last);
        require(dbk_store_last_position(world->store) == world->acknowledged,
                "a refused append moved the end", dbk_store_last_position(world->store),
                world->acknowledged);
    }
}

static void append(struct world *world)
{
    struct dbk_new_event events[4];
    struct dbk_slice tags[4][TAGS + 1];
    char sealed[4][SEALED_SIZE_MAX];
    char key_tags[4][DBK_KEY_TAG_SIZE + 1];
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char names[4][24];
    char texts[4][DATA_SIZE_MAX];
    size_t count = 1 + chance(world, 4);
    uint64_t position = world->acknowledged;
    uint64_t before = world->attempted;
    if (position + count + 1 >= EVENTS_MAX)
        return;
    world->nonce++;
    for (size_t i = 0; i < count; i++) {
        struct entry *entry = &world->entries[++position];
        unsigned stream = (unsigned)chance(world, STREAMS);
        uint64_t version = version_at(world, stream, position - 1) + 1;
        *entry = (struct entry){.stream = stream,
                                .version = version,
                                .tags = (unsigned)chance(world, 1 << TAGS),
                                .nonce = world->nonce,
                                .batch_end = i + 1 == count};
        events[i] =
            (struct dbk_new_event){.stream = stream_name(stream, names[i]),
                                   .type = DBK_SLICE_LITERAL("T"),
                                   .data = data_of(position, world->nonce, texts[i]),
                                   .tags = tags[i],
                                   .id = id_of(position, world->nonce),
                                   .occurred_us = DBK_TIME_NONE,
                                   .flags = DBK_RECORD_JSON,
                                   .sealed = sealed_of(position, world->nonce, false, sealed[i])};
        if (events[i].sealed.size > 0) {
            struct dbk_uuid key = key_of(key_number(position));
            dbk_key_tag(&key, key_tags[i]);
            tags[i][events[i].tag_count++] = dbk_slice(key_tags[i], DBK_KEY_TAG_SIZE);
        }
        for (unsigned tag = 0; tag < TAGS; tag++) {
            if ((entry->tags >> tag & 1) != 0)
                tags[i][events[i].tag_count++] = dbk_slice(&"g0g1g2g3"[2 * tag], 2);
        }
    }
    struct dbk_expectation expectation = {
        events[0].stream, (int64_t)version_at(world, world->entries[world->acknowledged + 1].stream,
                                              world->acknowledged)};
    world->attempted = position > before ? position : before;
    /* "No stream" is another question where rules leave out all of one. */
    bool expect = expectation.version > 0 && chance(world, 2) == 0;
    int rc = dbk_store_append(world->store,
                              &(struct dbk_batch){.events = events,
                                                  .count = count,
                                                  .expectations = &expectation,
                                                  .expectation_count = expect},
                              &result, &err);
    conclude(world, rc, rc == DBK_OK || rc == DBK_EUNKNOWN ? position : before);
    if (rc == DBK_OK)
        require(result.last_position == position && !result.known, "an append's answer is wrong",
                result.last_position, position);
}

/* An expectation that does not hold, and a tag that is there: neither may come through. */
static void append_in_vain(struct world *world)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char name[24];
    unsigned stream = (unsigned)chance(world, STREAMS);
    struct dbk_new_event event = {.stream = stream_name(stream, name),
                                  .type = DBK_SLICE_LITERAL("T"),
                                  .data = DBK_SLICE_LITERAL("{\"vain\":1}"),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    uint64_t version = version_at(world, stream, world->acknowledged);
    struct dbk_expectation expectation = {event.stream, (int64_t)version + 1};
    int rc = dbk_store_append(
        world->store,
        &(struct dbk_batch){
            .events = &event, .count = 1, .expectations = &expectation, .expectation_count = 1},
        &result, &err);
    require(rc < 0, "an append came through whose expectation does not hold", version, stream);
}

static void change_rules(struct world *world)
{
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char name[24];
    unsigned stream = (unsigned)chance(world, STREAMS);
    uint64_t version = version_at(world, stream, world->acknowledged);
    uint64_t position = world->acknowledged + 1;
    uint64_t before = world->attempted;
    bool all = chance(world, 3) == 0;
    uint64_t cut = all ? version + 1 : 1 + chance(world, version + 1);
    if (version == 0 || position + 1 >= EVENTS_MAX || (all && world->cut_tried[stream] > version))
        return;
    world->entries[position] =
        (struct entry){.stream = STREAMS + stream,
                       .version = version_at(world, STREAMS + stream, position - 1) + 1,
                       .batch_end = true};
    world->attempted = position > before ? position : before;
    struct dbk_slice subject = stream_name(stream, name);
    int rc =
        all ? dbk_store_delete_stream(world->store, subject, DBK_EXPECT_ANY, false, &result, &err)
            : dbk_store_set_rules(world->store, subject,
                                  &(struct dbk_stream_rules){.truncate_before = cut}, &result,
                                  &err);
    if (cut > world->cut_tried[stream] &&
        (rc == DBK_OK || rc == DBK_EUNKNOWN || dbk_sim_crashed(world->sim)))
        world->cut_tried[stream] = cut;
    if (rc == DBK_OK && cut > world->cut_known[stream])
        world->cut_known[stream] = cut;
    conclude(world, rc, rc == DBK_OK || rc == DBK_EUNKNOWN ? position : before);
}

static void compact(struct world *world)
{
    struct dbk_store_compacted compacted;
    struct dbk_uuid erased[KEYS];
    unsigned which = (unsigned)chance(world, 1 << KEYS);
    size_t count = 0;
    for (unsigned key = 0; key < KEYS; key++) {
        if ((which >> key & 1) != 0)
            erased[count++] = key_of(key);
    }
    if (chance(world, 3) == 0)
        dbk_store_seal(world->store);
    uint64_t position = dbk_store_sealed_position(world->store);
    world->erased_tried |= which;
    int rc = dbk_store_compact(
        world->store,
        &(struct dbk_store_compaction){.percent = 50, .erased = erased, .erased_count = count},
        &compacted, NULL);
    /* Whatever it says, the book must be right afterwards. */
    for (unsigned key = 0; key < KEYS; key++) {
        if (rc == DBK_OK && (which >> key & 1) != 0 && position > world->erased_up_to[key])
            world->erased_up_to[key] = position;
    }
}

static void reopen(struct world *world)
{
    struct dbk_error err = {0};
    close_store(world);
    if (open_store(world, true, &err) < 0) {
        (void)snprintf(world->why, sizeof(world->why), "%s", err.message);
        world->stopped = true;
    }
}

static void work(struct world *world, uint64_t steps)
{
    for (uint64_t i = 0; i < steps && !world->stopped; i++) {
        uint64_t what = chance(world, 100);
        if (what < 72)
            append(world);
        else if (what < 80)
            change_rules(world);
        else if (what < 86)
            compact(world);
        else if (what < 91)
            reopen(world);
        else if (what < 95)
            append_in_vain(world);
        else
            dbk_ignore(dbk_store_settle(world->store, NULL));
        world->stopped = world->stopped || dbk_sim_crashed(world->sim);
    }
}

/* ---- What must be ---- */

static bool may_be_removed(const struct world *world, const struct entry *entry, uint64_t last)
{
    if (entry->stream >= STREAMS)
        return entry->version < version_at(world, entry->stream, last);
    return entry->version < world->cut_tried[entry->stream];
}

/* The digest of what an event held before it was removed; worked out once for as long as that reads
   alike. */
static const uint8_t *digest_of(const struct entry *entry, const struct dbk_event *event,
                                struct dbk_slice data)
{
    static struct {
        uint64_t nonce;
        uint32_t meta;
        uint8_t digest[DBK_SHA256_SIZE];
    } known[EVENTS_MAX + 1];
    uint64_t nonce = (uint64_t)entry->nonce << 32 | (current_seed & UINT32_MAX);
    uint32_t meta = dbk_crc32c(1, event->meta);
    char tags[3 * TAGS + DBK_KEY_TAG_SIZE + 2];
    char sealed[SEALED_SIZE_MAX];
    struct dbk_event whole = *event;
    size_t size = 0;
    if (is_sealed(event->position)) {
        struct dbk_uuid key = key_of(key_number(event->position));
        tags[0] = (char)DBK_KEY_TAG_SIZE;
        dbk_key_tag(&key, tags + 1);
        size = DBK_KEY_TAG_SIZE + 1;
    }
    for (unsigned tag = 0; tag < TAGS; tag++) {
        if ((entry->tags >> tag & 1) != 0) {
            memcpy(tags + size, (char[]){2, 'g', (char)('0' + tag)}, 3);
            size += 3;
        }
    }
    if (known[event->position].nonce == nonce && known[event->position].meta == meta)
        return known[event->position].digest;
    whole.flags &= ~(uint32_t)DBK_RECORD_REMOVED;
    whole.data = data;
    whole.tags = dbk_slice(tags, size);
    whole.sealed = sealed_of(event->position, entry->nonce, false, sealed);
    require(dbk_record_content(&whole, known[event->position].digest) == DBK_OK,
            "a removed event has no digest", event->position, 0);
    known[event->position].nonce = nonce;
    known[event->position].meta = meta;
    return known[event->position].digest;
}

/* The ciphertext, or the digest that compaction left of it. */
static void check_sealed(const struct world *world, const struct entry *entry,
                         const struct dbk_event *event)
{
    char text[SEALED_SIZE_MAX];
    unsigned key = key_number(event->position);
    if (!is_sealed(event->position)) {
        require(event->sealed.size == 0, "an event has sealed fields", event->position, 0);
        return;
    }
    bool whole =
        dbk_slice_equal(event->sealed, sealed_of(event->position, entry->nonce, false, text));
    bool dropped =
        dbk_slice_equal(event->sealed, sealed_of(event->position, entry->nonce, true, text));
    require(whole || (dropped && (world->erased_tried >> key & 1) != 0),
            "an event has other sealed fields", event->position, key);
    require(dropped || event->position > world->erased_up_to[key], "a ciphertext is there again",
            event->position, key);
}

static void check_event(const struct world *world, const struct dbk_event *event, uint64_t last)
{
    const struct entry *entry = &world->entries[event->position];
    char name[24];
    require(dbk_slice_equal(event->stream, stream_name(entry->stream, name)) &&
                event->version == entry->version,
            "an event is another's", event->position, event->version);
    bool removed = (event->flags & DBK_RECORD_REMOVED) != 0;
    require(!removed || may_be_removed(world, entry, last), "an event was removed that is kept",
            event->position, entry->version);
    if (entry->stream >= STREAMS)
        return;
    struct dbk_uuid id = id_of(event->position, entry->nonce);
    struct dbk_slice data = known_data_of(event->position, entry->nonce);
    require(dbk_uuid_equal(&event->id, &id), "an event has another id", event->position, 0);
    if (!removed) {
        require(dbk_slice_equal(event->data, data), "an event has other content", event->position,
                0);
        check_sealed(world, entry, event);
        return;
    }
    require(event->data.size == DBK_SHA256_SIZE &&
                memcmp(digest_of(entry, event, data), event->data.data, DBK_SHA256_SIZE) == 0,
            "a removed event has another digest", event->position, 0);
}

/* Reads by a filter; 0: all of it was right; else the code of the damage that was met. */
static int check_read(struct world *world, const struct dbk_filter *filter, uint64_t last,
                      bool (*fits)(const struct world *world, const struct entry *entry,
                                   uint64_t argument),
                      uint64_t argument)
{
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t position = 0;
    int rc = dbk_cursor_open(world->store, filter, &cursor, NULL);
    while (rc >= 0 && (rc = dbk_cursor_next(cursor, &event, NULL)) > 0) {
        for (position++; position < event.position; position++) {
            const struct entry *entry = &world->entries[position];
            require(!fits(world, entry, argument) || may_be_removed(world, entry, last),
                    "a read left an event out", position, argument);
        }
        require(event.position <= last && position == event.position, "a read is out of order",
                position, event.position);
        require(fits(world, &world->entries[position], argument), "a read has an event too many",
                position, argument);
        check_event(world, &event, last);
    }
    for (position++; rc == 0 && position <= last; position++) {
        const struct entry *entry = &world->entries[position];
        require(!fits(world, entry, argument) || may_be_removed(world, entry, last),
                "a read ends early", position, argument);
    }
    dbk_cursor_free(cursor);
    return rc;
}

static bool fits_all(const struct world *world, const struct entry *entry, uint64_t argument)
{
    (void)world;
    (void)entry;
    (void)argument;
    return true;
}

static bool fits_tag(const struct world *world, const struct entry *entry, uint64_t tag)
{
    (void)world;
    return entry->stream < STREAMS && (entry->tags >> tag & 1) != 0;
}

static bool fits_stream(const struct world *world, const struct entry *entry, uint64_t stream)
{
    (void)world;
    return entry->stream == stream;
}

/* Everything stored; the code of damage that was met, or 0. */
static int check_content(struct world *world, uint64_t last)
{
    char name[24];
    int rc =
        check_read(world, &(struct dbk_filter){.hidden = true, .removed = true}, last, fits_all, 0);
    for (unsigned tag = 0; tag < TAGS && rc == 0; tag++) {
        struct dbk_slice text = dbk_slice(&"g0g1g2g3"[2 * tag], 2);
        struct dbk_query_item item = {.tags = &text, .tag_count = 1};
        rc = check_read(world, &(struct dbk_filter){.query = {&item, 1}}, last, fits_tag, tag);
    }
    for (unsigned stream = 0; stream < STREAMS && rc == 0; stream++) {
        struct dbk_stream_info info;
        struct dbk_filter filter = {.stream = stream_name(stream, name), .backwards = false};
        rc = dbk_store_stream_info(world->store, filter.stream, &info, NULL);
        if (rc < 0)
            break;
        require(info.version == version_at(world, stream, last), "a stream has another version",
                info.version, stream);
        uint64_t tried = world->cut_tried[stream];
        require(info.first >= world->cut_known[stream] && info.first <= (tried > 1 ? tried : 1),
                "a stream's rules are others", info.first, stream);
        rc = check_read(world, &filter, last, fits_stream, stream);
    }
    for (uint64_t position = 1; position <= last && rc == 0; position += 13) {
        uint64_t found = 0;
        struct dbk_uuid id = id_of(position, world->entries[position].nonce);
        if (world->entries[position].stream >= STREAMS)
            continue;
        rc = dbk_store_find_id(world->store, &id, &found, NULL);
        require(rc < 0 || found == position, "an id is not found", position, found);
    }
    return rc;
}

/* Opened again: nothing acknowledged is lost, nothing is there that was not attempted. */
static void check_opened(struct world *world)
{
    uint64_t last = dbk_store_last_position(world->store);
    require(last >= world->acknowledged, "acknowledged events are lost", last, world->acknowledged);
    require(last <= world->attempted, "there are events that nobody appended", last,
            world->attempted);
    require(last == 0 || last == world->acknowledged || world->entries[last].batch_end,
            "half a batch is there", last, world->acknowledged);
    int rc = check_content(world, last);
    require(rc == 0, "what is there cannot be read", (uint64_t)-rc, last);
    /* What a recovery shows is as good as acknowledged. */
    world->acknowledged = last;
    world->attempted = last;
    for (unsigned stream = 0; stream < STREAMS; stream++) {
        struct dbk_stream_info info;
        char name[24];
        if (dbk_store_stream_info(world->store, stream_name(stream, name), &info, NULL) == DBK_OK)
            world->cut_known[stream] = world->cut_tried[stream] =
                info.rules.truncate_before > world->cut_known[stream] ? info.rules.truncate_before
                                                                      : world->cut_known[stream];
    }
}

static void open_and_check(struct world *world)
{
    struct dbk_error err = {0};
    int rc = open_store(world, true, &err);
    if (rc < 0)
        (void)printf("%s\n", err.message);
    require(rc == DBK_OK, "the store cannot be opened again", (uint64_t)-rc, 0);
    check_opened(world);
}

static void begin(struct world *world, uint64_t seed)
{
    current_seed = seed;
    memset(world, 0, sizeof(*world));
    world->random = seed;
    world->sim = dbk_sim_create(seed);
}

/* ---- The four kinds ---- */

static void restart(struct world *world, uint64_t data, uint64_t names)
{
    dbk_sim_restart(world->sim, (enum dbk_sim_keep)data, (enum dbk_sim_keep)names,
                    chance(world, UINT64_MAX));
    counts.crash_states++;
}

static void run_crash(struct world *world, uint64_t seed)
{
    begin(world, seed);
    struct dbk_error err = {0};
    dbk_sim_crash_at(world->sim, 1 + chance(world, 4 + chance(world, 500)), DBK_SIM_CHANGES);
    if (open_store(world, true, &err) == DBK_OK)
        work(world, 1 + chance(world, STEPS_MAX));
    /* Crashing now, wherever it is: closing comes too late. */
    if (!dbk_sim_crashed(world->sim))
        dbk_sim_crash_at(world->sim, 1, 0);
    close_store(world);
    restart(world, chance(world, KEEPS), chance(world, KEEPS));
    for (uint64_t again = chance(world, 3); again > 0; again--) {
        /* The recovery crashes, too; what it has not shown it may still lose or keep. */
        dbk_sim_crash_at(world->sim, 1 + chance(world, 25), DBK_SIM_CHANGES);
        bool opened = open_store(world, true, &err) == DBK_OK && !dbk_sim_crashed(world->sim);
        if (opened) {
            dbk_sim_crash_at(world->sim, 0, 0);
            check_opened(world);
            dbk_sim_crash_at(world->sim, 1, 0);
        }
        close_store(world);
        restart(world, chance(world, KEEPS), chance(world, KEEPS));
    }
    open_and_check(world);
    /* What was shown stays, although nothing that is not synced does. */
    work(world, chance(world, 6));
    dbk_sim_crash_at(world->sim, 1, 0);
    close_store(world);
    restart(world, DBK_SIM_NONE, DBK_SIM_NONE);
    open_and_check(world);
    close_store(world);
    dbk_sim_free(world->sim);
}

static void run_calls(struct world *world, uint64_t seed)
{
    static const int codes[] = {DBK_EIO, DBK_EFULL, DBK_EDENIED};
    begin(world, seed);
    struct dbk_error err = {0};
    /* A full disk shows when something is written, and there nothing may stop because of it. */
    int code = codes[chance(world, 3)];
    bool full = code == DBK_EFULL;
    dbk_sim_fail_at(world->sim, 1 + chance(world, 4 + chance(world, full ? 300 : 800)),
                    full ? DBK_SIM_PWRITE : 0, code, chance(world, 2) == 0);
    counts.call_failures++;
    bool opened = open_store(world, true, &err) == DBK_OK;
    if (opened)
        work(world, 1 + chance(world, STEPS_MAX));
    dbk_sim_fail_at(world->sim, 0, 0, 0, false);
    /* A disk that works again: it goes on, unless a sync failed, of a file or of its name. */
    if (world->store != NULL && !world->stopped) {
        int rc = check_content(world, dbk_store_last_position(world->store));
        require(rc == 0, "reading failed after the fault", (uint64_t)-rc, 0);
        work(world, 4);
        if (world->stopped && full)
            (void)printf("%s\n", world->why);
        require(!world->stopped || !full, "the store stopped after a full disk", 0, 0);
    }
    close_store(world);
    open_and_check(world);
    work(world, 4);
    require(!world->stopped, "the store does not go on", 0, 0);
    close_store(world);
    dbk_sim_free(world->sim);
}

static _Atomic uint64_t allocations_left; /* before one fails; 0: none does */
static _Atomic bool fails_for_ever;

static bool fails(void)
{
    if (allocations_left == 0)
        return false;
    if (allocations_left == 1) {
        if (!fails_for_ever)
            allocations_left = 0;
        return true;
    }
    allocations_left--;
    return false;
}

static void *allocate(size_t size)
{
    return fails() ? NULL : malloc(size);
}

static void *reallocate(void *memory, size_t size)
{
    return fails() ? NULL : realloc(memory, size);
}

static void run_alloc(struct world *world, uint64_t seed)
{
    begin(world, seed);
    struct dbk_error err = {0};
    fails_for_ever = chance(world, 2) == 0;
    allocations_left = 1 + chance(world, 4 + chance(world, 600));
    counts.allocation_failures++;
    if (open_store(world, true, &err) == DBK_OK)
        work(world, 1 + chance(world, STEPS_MAX));
    allocations_left = 0;
    if (world->store != NULL && !world->stopped) {
        int rc = check_content(world, dbk_store_last_position(world->store));
        require(rc == 0, "reading failed after the fault", (uint64_t)-rc, 0);
        work(world, 4);
        require(!world->stopped, "the store stopped after the fault", 0, 0);
    }
    close_store(world);
    open_and_check(world);
    close_store(world);
    dbk_sim_free(world->sim);
}

/* ---- Bits ---- */

struct files {
    char paths[256][96];
    size_t count;
    const char *folder;
};

static int add_file(const char *name, void *context)
{
    struct files *files = context;
    if (files->count < 256)
        (void)snprintf(files->paths[files->count++], 96, "%s/%s", files->folder, name);
    return DBK_OK;
}

static void flip(struct world *world, const char *path, size_t bit, bool writer)
{
    struct world twin = *world;
    struct dbk_error err = {0};
    if (writer)
        twin.sim = dbk_sim_clone(world->sim, bit);
    dbk_sim_flip(twin.sim, path, bit / 8, (uint8_t)(1u << bit % 8));
    int rc = open_store(&twin, writer, &err);
    if (rc == DBK_OK) {
        uint64_t last = dbk_store_last_position(twin.store);
        /* An older note is one a reader may have come upon, too. */
        require(last <= world->acknowledged && (!writer || last == world->acknowledged),
                "a flipped bit moved the end", last, bit);
        rc = check_content(&twin, last);
    }
    require(rc == 0 || rc == DBK_ECORRUPT || rc == DBK_EFORMAT,
            "a flipped bit is not named as damage", (uint64_t)-rc, bit);
    close_store(&twin);
    if (writer)
        dbk_sim_free(twin.sim);
    else
        dbk_sim_flip(twin.sim, path, bit / 8, (uint8_t)(1u << bit % 8));
    counts.bits++;
}

/* Where a run ends; 0: there is no such end. */
struct bound {
    uint64_t count;
    time_t end;
};

static bool is_over(struct bound bound, uint64_t done)
{
    return (bound.count > 0 && done >= bound.count) || (bound.end != 0 && time(NULL) >= bound.end);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Flips bits first, first + stride, … of all the files' bits, one after the other. */
static void flip_files(struct world *world, const struct files *files, size_t first, size_t stride,
                       struct bound bound)
{
    size_t at = first;
    for (size_t i = 0; i < files->count; i++) {
        size_t size = dbk_sim_file(world->sim, files->paths[i]).size * 8;
        for (; at < size && !is_over(bound, counts.bits); at += stride)
            flip(world, files->paths[i], at, at % 64 == 17);
        if (at < size)
            break;
        at -= size;
    }
}

static void run_bits(struct world *world, uint64_t seed, size_t first, struct bound bound)
{
    struct files files = {.folder = "data/log"};
    struct dbk_error err = {0};
    begin(world, seed);
    require(open_store(world, true, &err) == DBK_OK, "the store cannot be made", 0, 0);
    work(world, 400);
    close_store(world);
    struct dbk_os *os = dbk_sim_os(world->sim);
    dbk_ignore(os->list(os, files.folder, add_file, &files, NULL));
    files.folder = "data/index";
    dbk_ignore(os->list(os, files.folder, add_file, &files, NULL));
    qsort(files.paths, files.count, sizeof(files.paths[0]), compare_paths);
    size_t bits = 0;
    for (size_t i = 0; i < files.count; i++)
        bits += dbk_sim_file(world->sim, files.paths[i]).size * 8;
    (void)printf("%zu bytes in %zu files, %zu bits, %016" PRIx64 "\n", bits / 8, files.count, bits,
                 dbk_sim_fingerprint(world->sim));
    (void)fflush(stdout);
    bool some = first == SIZE_MAX && bound.count > 0 && bound.count < bits;
    flip_files(world, &files, first == SIZE_MAX ? 0 : first, some ? bits / bound.count : 1, bound);
    dbk_sim_free(world->sim);
}

/* ---- */

static uint64_t number_of(const char *text)
{
    char *end = NULL;
    uint64_t number = strtoull(text, &end, 10);
    if (*text == '\0' || *end != '\0') {
        (void)fprintf(stderr, "\"%s\" is no number\n", text);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    static struct world world;
    const char *kind = "crash";
    uint64_t seed = 1;
    struct bound bound = {0};
    uint64_t from = SIZE_MAX;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--kind") == 0)
            kind = argv[i + 1];
        else if (strcmp(argv[i], "--seed") == 0)
            seed = number_of(argv[i + 1]);
        else if (strcmp(argv[i], "--count") == 0)
            bound.count = number_of(argv[i + 1]);
        else if (strcmp(argv[i], "--from") == 0)
            from = number_of(argv[i + 1]);
        else if (strcmp(argv[i], "--larger") == 0)
            larger = (size_t)number_of(argv[i + 1]);
        else if (strcmp(argv[i], "--seconds") == 0)
            bound.end = time(NULL) + (time_t)number_of(argv[i + 1]);
        else
            argc = 0;
    }
    void (*run)(struct world *, uint64_t) = strcmp(kind, "crash") == 0   ? run_crash
                                            : strcmp(kind, "calls") == 0 ? run_calls
                                            : strcmp(kind, "alloc") == 0 ? run_alloc
                                                                         : NULL;
    if (argc % 2 == 0 || argc == 0 || larger > PAD_MAX ||
        (run == NULL && strcmp(kind, "bits") != 0)) {
        (void)fprintf(stderr, "states --kind crash|calls|alloc|bits [--seed N] [--count N] "
                              "[--seconds N] [--larger BYTES] [--from BIT]\n");
        return 2;
    }
    if (bound.count == 0 && bound.end == 0)
        bound.count = 1000;
    dbk_set_allocator(&(struct dbk_allocator){allocate, reallocate, free});
    (void)printf("%s from seed %" PRIu64 "\n", kind, seed);
    if (run == NULL)
        run_bits(&world, seed, from, bound);
    for (uint64_t done = 0; run != NULL;) {
        run(&world, seed++);
        done = counts.crash_states + counts.call_failures + counts.allocation_failures;
        if (is_over(bound, done))
            break;
    }
    (void)printf("{\"kind\":\"%s\",\"next_seed\":%" PRIu64 ",\"crash_states\":%" PRIu64
                 ",\"call_failures\":%" PRIu64 ",\"allocation_failures\":%" PRIu64
                 ",\"bits\":%" PRIu64 ",\"violations\":0}\n",
                 kind, seed, counts.crash_states, counts.call_failures, counts.allocation_failures,
                 counts.bits);
    return 0;
}
