/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tamper_book -- makes a small book that has everything a verifier must understand: segments of a
 * few KiB, groups of one and of many, tags, meta, bytes, removed events and the rules that explain
 * them, compacted segments, sealed fields of both kinds, full tiles, several checkpoints.
 *
 *     tamper_book FOLDER      writes FOLDER/log, FOLDER/proof, FOLDER/proof.key, and the checkpoint
 *                             of half of it as FOLDER.checkpoint, the key as FOLDER.vkey
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "proof/proof.h"
#include "store/store.h"

#define EVENTS 640
#define BATCH 8
#define SEGMENT_SIZE 24000

static void need(int rc, const struct dbk_error *err)
{
    if (rc >= 0)
        return;
    (void)fprintf(stderr, "tamper_book: %s\n", err->message);
    exit(1);
}

/* One sealed field: a ciphertext, or what is left of one. */
static struct dbk_slice seal(unsigned number, bool gone, char bytes[80])
{
    size_t size = gone ? DBK_SHA256_SIZE : 20;
    memset(bytes, 0, 80);
    dbk_put_u16(bytes, 1);
    dbk_put_u16(bytes + 2, 4);
    dbk_put_u16(bytes + 4, gone);
    dbk_put_u32(bytes + 6, (uint32_t)size);
    memset(bytes + 10, gone ? 0xA0 : 0xA1, 16);
    memcpy(bytes + 26, "name", 4);
    memset(bytes + 30, (int)number, size);
    return dbk_slice(bytes, 30 + size);
}

static void append(struct dbk_store *store, unsigned first)
{
    static const struct dbk_slice tags[] = {{"kind:a", 6}, {"kind:b", 6}};
    struct dbk_new_event events[BATCH];
    struct dbk_append_result result;
    struct dbk_error err = {0};
    char streams[BATCH][16];
    char data[BATCH][64];
    char sealed[BATCH][80];
    unsigned count = first % 3 == 0 ? 1 : BATCH;
    for (unsigned i = 0; i < count; i++) {
        unsigned number = first + i;
        (void)snprintf(streams[i], sizeof(streams[i]), "thing-%u", number % 5);
        (void)snprintf(data[i], sizeof(data[i]), "{\"n\":%u,\"text\":\"number %u\"}", number,
                       number);
        events[i] = (struct dbk_new_event){
            .stream = dbk_slice_of(streams[i]),
            .type = number % 2 == 0 ? DBK_SLICE_LITERAL("Seen") : DBK_SLICE_LITERAL("Changed"),
            .data = dbk_slice_of(data[i]),
            .meta =
                number % 4 == 0 ? DBK_SLICE_LITERAL("{\"actor\":\"x\"}") : (struct dbk_slice){0},
            .tags = tags,
            .tag_count = number % 3,
            .occurred_us = number % 7 == 0 ? 1000000 : DBK_TIME_NONE,
            .flags = DBK_RECORD_JSON};
        if (number % 6 == 0)
            events[i].sealed = seal(number, number % 12 == 0, sealed[i]);
    }
    need(dbk_store_append(store, &(struct dbk_batch){.events = events, .count = count}, &result,
                          &err),
         &err);
}

static void forget(struct dbk_store *store, const char *key)
{
    char data[64];
    struct dbk_error err = {0};
    struct dbk_append_result result;
    (void)snprintf(data, sizeof(data), "{\"key\":\"%s\",\"mode\":\"erase\"}", key);
    struct dbk_new_event event = {.stream = DBK_SLICE_LITERAL("$subjects"),
                                  .type = DBK_SLICE_LITERAL("SubjectForgotten"),
                                  .data = dbk_slice_of(data),
                                  .occurred_us = DBK_TIME_NONE,
                                  .flags = DBK_RECORD_JSON};
    need(dbk_store_append(
             store, &(struct dbk_batch){.events = &event, .count = 1, .flags = DBK_APPEND_OWN},
             &result, &err),
         &err);
}

static void sign(struct dbk_proof *proof, const char *folder, const char *suffix)
{
    char path[4096];
    struct dbk_error err = {0};
    struct dbk_buf text;
    uint64_t size = 0;
    dbk_buf_init(&text, 1 << 20);
    need(suffix[1] == 'v' ? dbk_proof_key(proof, &text, &err)
                          : dbk_proof_checkpoint(proof, &text, &size, &err),
         &err);
    (void)snprintf(path, sizeof(path), "%s%s", folder, suffix);
    need(dbk_os_replace_file(dbk_os_real(), path, dbk_buf_slice(&text), &err), &err);
    dbk_buf_release(&text);
}

int main(int argc, char **argv)
{
    struct dbk_error err = {0};
    struct dbk_store *store = NULL;
    struct dbk_proof *proof = NULL;
    struct dbk_append_result result;
    struct dbk_store_compacted compacted;
    if (argc != 2)
        return 2;
    need(dbk_store_open(&(struct dbk_store_options){.os = dbk_os_real(),
                                                    .folder = argv[1],
                                                    .writer = true,
                                                    .segment_size = SEGMENT_SIZE},
                        &store, &err),
         &err);
    need(dbk_proof_open(&(struct dbk_proof_options){.os = dbk_os_real(),
                                                    .store = store,
                                                    .folder = argv[1],
                                                    .name = "tampered",
                                                    .writer = true,
                                                    .interval_us = -1},
                        &proof, &err),
         &err);
    for (unsigned round = 0; dbk_store_last_position(store) < EVENTS; round++) {
        append(store, round * BATCH);
        if (round == 8)
            forget(store, "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0");
        if (round == 40)
            need(dbk_store_set_rules(store, DBK_SLICE_LITERAL("thing-1"),
                                     &(struct dbk_stream_rules){.truncate_before = 30}, &result,
                                     &err),
                 &err);
        if (round == 50)
            need(dbk_store_set_rules(store, DBK_SLICE_LITERAL("thing-2"),
                                     &(struct dbk_stream_rules){.max_count = 20}, &result, &err),
                 &err);
        if (round == 52)
            need(dbk_store_set_rules(store, DBK_SLICE_LITERAL("thing-1"),
                                     &(struct dbk_stream_rules){.truncate_before = 40}, &result,
                                     &err),
                 &err);
        if (round == 60)
            sign(proof, argv[1], ".checkpoint");
        if (round % 20 == 0)
            need(dbk_proof_settle(proof, &err), &err);
    }
    sign(proof, argv[1], ".newest");
    need(dbk_store_compact(store, &(struct dbk_store_compaction){0}, &compacted, &err), &err);
    append(store, 1);
    sign(proof, argv[1], ".vkey");
    dbk_proof_free(proof);
    dbk_store_free(store);
    return compacted.removed > 0 ? 0 : 1;
}
