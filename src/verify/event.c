/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/verify.h"

#define RECORD_HEADER_SIZE 80
#define ENVELOPE_SIZE 54 /* position to schema version */
#define LEAF_PREFIX_SIZE 9
#define LEAF_INPUT_SIZE_MAX 2048

static const uint8_t leaf_prefix[LEAF_PREFIX_SIZE] = "\0dbkleaf2";

static struct dbk_bytes take(struct dbk_bytes *bytes, size_t size)
{
    struct dbk_bytes part = dbk_part(*bytes, 0, size);
    *bytes = dbk_part(*bytes, size, bytes->size - size);
    return part;
}

static void read_envelope(struct dbk_record *record, const uint8_t *at)
{
    record->envelope = (struct dbk_bytes){at, ENVELOPE_SIZE};
    record->position = dbk_number(at, 8);
    record->version = dbk_number(at + 8, 8);
    record->time_us = (int64_t)dbk_number(at + 16, 8);
    record->flags = (uint32_t)dbk_number(at + 48, 4);
}

bool dbk_record_read(struct dbk_bytes bytes, struct dbk_record *record_out)
{
    size_t sizes[6];
    size_t sum = RECORD_HEADER_SIZE;
    if (bytes.size < RECORD_HEADER_SIZE)
        return false;
    for (unsigned i = 0; i < 6; i++) {
        sizes[i] = (size_t)(i < 3 ? dbk_number(bytes.data + 62 + (size_t)2 * i, 2)
                                  : dbk_number(bytes.data + 68 + (size_t)4 * (i - 3), 4));
        sum += sizes[i];
    }
    if (sum != dbk_number(bytes.data, 4) || sum != bytes.size || sizes[0] > 1024 || sizes[1] > 255)
        return false;
    read_envelope(record_out, bytes.data + 8);
    bytes = dbk_part(bytes, RECORD_HEADER_SIZE, bytes.size - RECORD_HEADER_SIZE);
    record_out->stream = take(&bytes, sizes[0]);
    record_out->type = take(&bytes, sizes[1]);
    record_out->tags = take(&bytes, sizes[2]);
    record_out->data = take(&bytes, sizes[3]);
    record_out->meta = take(&bytes, sizes[4]);
    record_out->sealed = take(&bytes, sizes[5]);
    return true;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(at, bytes, size);
    return at + size;
}

static uint8_t *put_number(uint8_t *at, uint64_t number, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        *at++ = (uint8_t)(number >> (8 * i));
    return at;
}

/* What a sealed field is in the content: it has no more bytes there than 36 and its path. */
static bool put_sealed(struct dbk_bytes sealed, uint8_t **at, uint64_t *count_out,
                       void (*gone)(void *context, const uint8_t key_id[16]), void *context)
{
    uint64_t count = sealed.size == 0  ? 0
                     : sealed.size < 2 ? UINT64_MAX
                                       : dbk_number(sealed.data, 2);
    *count_out = count;
    if (sealed.size > 0)
        (void)take(&sealed, sealed.size < 2 ? sealed.size : 2);
    for (uint64_t i = 0; i < count; i++) {
        if (sealed.size < 24)
            return false;
        struct dbk_bytes head = take(&sealed, 24);
        size_t path_size = (size_t)dbk_number(head.data, 2);
        uint64_t kind = dbk_number(head.data + 2, 2);
        size_t size = (size_t)dbk_number(head.data + 4, 4);
        if (path_size + size > sealed.size || kind > 1 || (kind == 1 && size != DBK_HASH_SIZE))
            return false;
        *at = put_number(*at, path_size, 4);
        *at = put(*at, take(&sealed, path_size).data, path_size);
        *at = put(*at, head.data + 8, 16);
        struct dbk_bytes value = take(&sealed, size);
        struct dbk_hash hash = dbk_sha256(value);
        *at = put(*at, kind == 1 ? value.data : hash.bytes, DBK_HASH_SIZE);
        if (kind == 1 && gone != NULL)
            gone(context, head.data + 8);
    }
    return sealed.size == 0;
}

static bool content_digest(const struct dbk_record *record, uint8_t digest_out[DBK_HASH_SIZE],
                           void (*gone)(void *context, const uint8_t key_id[16]), void *context)
{
    uint64_t count = 0;
    /* A field's 24 bytes become at most 52. */
    uint8_t *content = dbk_room(NULL,
                                16 + record->tags.size + record->data.size + record->meta.size +
                                    3 * record->sealed.size,
                                1);
    uint8_t *at = content + 16;
    at = put(at, record->tags.data, record->tags.size);
    at = put(at, record->data.data, record->data.size);
    at = put(at, record->meta.data, record->meta.size);
    bool right = put_sealed(record->sealed, &at, &count, gone, context);
    uint8_t *sizes = put_number(content, record->tags.size, 4);
    sizes = put_number(sizes, record->data.size, 4);
    sizes = put_number(sizes, record->meta.size, 4);
    (void)put_number(sizes, count, 4);
    struct dbk_hash hash = dbk_sha256((struct dbk_bytes){content, (size_t)(at - content)});
    memcpy(digest_out, hash.bytes, DBK_HASH_SIZE);
    free(content);
    return right;
}

bool dbk_record_hash(const struct dbk_record *record, struct dbk_hash *leaf_out,
                     void (*gone)(void *context, const uint8_t key_id[16]), void *context)
{
    uint8_t input[LEAF_INPUT_SIZE_MAX];
    uint8_t digest[DBK_HASH_SIZE];
    if ((record->flags & DBK_REMOVED) != 0) {
        if (record->data.size != DBK_HASH_SIZE ||
            record->tags.size + record->meta.size + record->sealed.size != 0)
            return false;
        memcpy(digest, record->data.data, DBK_HASH_SIZE);
    } else if (!content_digest(record, digest, gone, context)) {
        return false;
    }
    uint8_t *at = put(input, leaf_prefix, LEAF_PREFIX_SIZE);
    at = put(at, record->envelope.data, ENVELOPE_SIZE);
    (void)put_number(at - ENVELOPE_SIZE + 48, record->flags & ~(uint32_t)DBK_REMOVED, 4);
    at = put_number(at, record->stream.size, 2);
    at = put(at, record->stream.data, record->stream.size);
    at = put_number(at, record->type.size, 2);
    at = put(at, record->type.data, record->type.size);
    at = put(at, digest, DBK_HASH_SIZE);
    *leaf_out = dbk_sha256((struct dbk_bytes){input, (size_t)(at - input)});
    return true;
}

/* ---- One event's proof ---- */

static int refuse(const char *name, uint64_t position, const char *what)
{
    dbk_found("proof", &(struct dbk_place){name, 0, position}, "%s", what);
    return 1;
}

/* Takes a leaf's input off the front of what the proof brings along. */
static bool take_leaf(struct dbk_bytes *extra, struct dbk_record *record,
                      struct dbk_bytes *digest_out)
{
    struct dbk_bytes *const parts[] = {&record->stream, &record->type};
    if (extra->size < LEAF_PREFIX_SIZE + ENVELOPE_SIZE ||
        memcmp(extra->data, leaf_prefix, LEAF_PREFIX_SIZE) != 0)
        return false;
    read_envelope(record, extra->data + LEAF_PREFIX_SIZE);
    (void)take(extra, LEAF_PREFIX_SIZE + ENVELOPE_SIZE);
    for (unsigned i = 0; i < 2; i++) {
        size_t size = extra->size < 2 ? SIZE_MAX : (size_t)dbk_number(extra->data, 2);
        if (size == SIZE_MAX || size > extra->size - 2)
            return false;
        (void)take(extra, 2);
        *parts[i] = take(extra, size);
    }
    if (extra->size < DBK_HASH_SIZE)
        return false;
    *digest_out = take(extra, DBK_HASH_SIZE);
    return true;
}

static bool take_content(struct dbk_bytes content, struct dbk_record *record)
{
    struct dbk_bytes *const parts[] = {&record->tags, &record->data, &record->meta};
    struct dbk_bytes sizes = dbk_part(content, 0, 16);
    if (sizes.size < 16)
        return false;
    (void)take(&content, 16);
    for (unsigned i = 0; i < 3; i++) {
        size_t size = (size_t)dbk_number(sizes.data + (size_t)4 * i, 4);
        if (size > content.size)
            return false;
        *parts[i] = take(&content, size);
    }
    return true;
}

/* What was proved; bytes that are no text are shown as such. */
static void show(const char *name, struct dbk_bytes bytes)
{
    printf("%-9s ", name);
    for (size_t i = 0; i < bytes.size; i++)
        if (bytes.data[i] < ' ' || bytes.data[i] == 0x7F || bytes.data[i] == '\\')
            printf("\\x%02x", bytes.data[i]);
        else
            (void)putchar(bytes.data[i]);
    (void)putchar('\n');
}

static void show_event(const struct dbk_record *record, bool removed)
{
    printf("%-9s %" PRIu64 "\n%-9s %" PRIu64 "\n%-9s %" PRId64 " us since 1970\n", "position",
           record->position, "version", record->version, "time", record->time_us);
    show("stream", record->stream);
    show("type", record->type);
    if (removed) {
        printf("%-9s removed\n", "data");
        return;
    }
    show("data", record->data);
    show("meta", record->meta);
}

static int check(const char *name, struct dbk_bytes text, const struct dbk_key *key,
                 struct dbk_bytes extra)
{
    struct dbk_record record = {0};
    struct dbk_checkpoint checkpoint;
    struct dbk_hash path[65];
    struct dbk_hash root;
    struct dbk_bytes line;
    struct dbk_bytes digest;
    struct dbk_bytes leaf_input = extra;
    uint64_t index = 0;
    size_t count = 0;
    uint8_t hash[DBK_HASH_SIZE + 1];
    if (!take_leaf(&extra, &record, &digest))
        return refuse(name, 0, "its extra line is not what an event's leaf is made of");
    leaf_input.size -= extra.size;
    if (!dbk_line(&text, &line) || line.size < 6 || memcmp(line.data, "index ", 6) != 0 ||
        !dbk_decimal(dbk_part(line, 6, line.size - 6), &index))
        return refuse(name, record.position, "it has no line with an index");
    while (dbk_line(&text, &line) && line.size > 0) {
        if (count == 65 || line.size != 44 || dbk_base64(line, hash) != DBK_HASH_SIZE)
            return refuse(name, record.position, "a line of its path is no hash");
        memcpy(path[count++].bytes, hash, DBK_HASH_SIZE);
    }
    const char *wrong = dbk_note_read(text, key, &checkpoint);
    if (wrong != NULL)
        return refuse(name, record.position, wrong);
    if (index + 1 != record.position || (record.flags & DBK_REMOVED) != 0)
        return refuse(name, record.position,
                      "the event is not of the position that its index says");
    struct dbk_hash content = dbk_sha256(extra);
    bool removed = extra.size == 0;
    if (!removed &&
        (memcmp(content.bytes, digest.data, DBK_HASH_SIZE) != 0 || !take_content(extra, &record)))
        return refuse(name, record.position, "the event's content is not the one in its leaf");
    if (!dbk_tree_walk(dbk_sha256(leaf_input), index, checkpoint.size, path, count, &root) ||
        memcmp(&root, &checkpoint.root, sizeof(root)) != 0)
        return refuse(name, record.position, "the event is not in the tree that was signed");
    show_event(&record, removed);
    return 0;
}

int dbk_proof_check(const char *name, struct dbk_bytes text, const struct dbk_key *key)
{
    static const char first[] = "c2sp.org/tlog-proof@v1";
    struct dbk_bytes line;
    if (!dbk_line(&text, &line) || line.size != sizeof(first) - 1 ||
        memcmp(line.data, first, line.size) != 0)
        return refuse(name, 0, "it is no proof: its first line is not c2sp.org/tlog-proof@v1");
    if (!dbk_line(&text, &line) || line.size < 6 || memcmp(line.data, "extra ", 6) != 0)
        return refuse(name, 0, "it has no extra line");
    uint8_t *bytes = dbk_room(NULL, line.size, 1);
    long size = dbk_base64(dbk_part(line, 6, line.size - 6), bytes);
    int failed = size < 0 ? refuse(name, 0, "its extra line is no base64")
                          : check(name, text, key, (struct dbk_bytes){bytes, (size_t)size});
    free(bytes);
    return failed;
}
