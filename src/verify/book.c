/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/verify.h"

#define RULES_PREFIX "$stream-"
#define FORGOTTEN "\"key\":\""

/* What explains that something is gone, and what is to be explained; sorted by what it is about. */
struct mark {
    uint8_t about[16]; /* of a stream's name, or a key id */
    bool gone;
    bool whole; /* explains all of it, by age or number */
    uint64_t version;
    uint64_t before; /* explains versions below */
    uint64_t position;
};
struct marks {
    struct mark *at;
    size_t count;
};

struct book {
    const char *folder;
    struct dbk_tree tree;
    struct dbk_bytes tiles[8];
    bool has_tiles;
    struct dbk_bytes notes;
    struct dbk_bytes left; /* notes to come */
    struct dbk_checkpoint next;
    struct dbk_place next_place;
    bool has_next;
    uint64_t checkpoints;
    uint64_t newest; /* size */
    const struct dbk_key *key;
    struct dbk_checkpoint kept;
    const char *kept_name; /* NULL: none */
    struct marks streams;
    struct marks keys;
    uint64_t position; /* of the event at hand */
    uint64_t sealed_gone;
};

static void add(struct marks *marks, struct mark mark)
{
    if ((marks->count & (marks->count - 1)) == 0)
        marks->at = dbk_room(marks->at, marks->count == 0 ? 1 : marks->count * 2, sizeof(mark));
    marks->at[marks->count++] = mark;
}

static bool begins(struct dbk_bytes bytes, const char *text)
{
    return bytes.size >= strlen(text) && memcmp(bytes.data, text, strlen(text)) == 0;
}

/* A member of the book's own small objects: what stands behind `"name":`. */
static struct dbk_bytes member(struct dbk_bytes data, const char *name)
{
    const uint8_t *at = data.size == 0 ? NULL : memmem(data.data, data.size, name, strlen(name));
    size_t offset = at == NULL ? data.size : (size_t)(at - data.data) + strlen(name);
    return dbk_part(data, offset, data.size - offset);
}

static uint64_t member_number(struct dbk_bytes data, const char *name)
{
    uint64_t number = 0;
    struct dbk_bytes text = member(data, name);
    for (size_t i = 0; i < text.size && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        number = number * 10 + text.data[i] - '0';
    return number;
}

static void about_stream(struct dbk_bytes stream, struct mark *mark)
{
    struct dbk_hash hash = dbk_sha256(stream);
    memcpy(mark->about, hash.bytes, sizeof(mark->about));
}

static void sealed_gone(void *context, const uint8_t key_id[16])
{
    struct book *book = context;
    struct mark mark = {.gone = true, .position = book->position};
    memcpy(mark.about, key_id, 16);
    book->sealed_gone++;
    add(&book->keys, mark);
}

/* Rules and forgotten keys, and what they have to explain. */
static void mark_event(struct book *book, const struct dbk_record *record)
{
    struct mark mark = {.version = record->version, .position = record->position};
    if ((record->flags & DBK_REMOVED) != 0) {
        mark.gone = true;
        about_stream(record->stream, &mark);
        add(&book->streams, mark);
    } else if (begins(record->stream, RULES_PREFIX)) {
        size_t prefix = strlen(RULES_PREFIX);
        /* Rules replace the ones before, which lose their content, too. */
        about_stream(record->stream, &mark);
        mark.before = record->version;
        add(&book->streams, mark);
        about_stream(dbk_part(record->stream, prefix, record->stream.size - prefix), &mark);
        mark.before = member_number(record->data, "\"truncate_before\":");
        mark.whole = member(record->data, "\"max_").size > 0 ||
                     begins(member(record->data, "\"closed\":"), "true");
        add(&book->streams, mark);
    } else if (record->stream.size == 9 && begins(record->stream, "$subjects") &&
               record->type.size == 16 && begins(record->type, "SubjectForgotten")) {
        struct dbk_bytes text = member(record->data, FORGOTTEN);
        for (size_t i = 0; text.size > 32 && i < 32; i++) {
            uint8_t digit = text.data[i];
            unsigned value = digit <= '9' ? (unsigned)digit - '0' : (digit | 32u) - 'a' + 10;
            mark.about[i / 2] = (uint8_t)((unsigned)mark.about[i / 2] << 4 | (value & 15));
        }
        mark.whole = text.size > 32 && text.data[32] == '"';
        add(&book->keys, mark);
    }
}

static int compare(const void *a, const void *b)
{
    return memcmp(((const struct mark *)a)->about, ((const struct mark *)b)->about, 16);
}

/* What is gone and has no mark that explains it. */
static void explain(struct marks *marks, const char *kind, const char *what)
{
    if (marks->count > 0)
        qsort(marks->at, marks->count, sizeof(*marks->at), compare);
    for (size_t begin = 0, end; begin < marks->count; begin = end) {
        uint64_t before = 0;
        bool whole = false;
        for (end = begin; end < marks->count && compare(&marks->at[begin], &marks->at[end]) == 0;
             end++) {
            whole = whole || marks->at[end].whole;
            if (marks->at[end].before > before)
                before = marks->at[end].before;
        }
        for (size_t i = begin; i < end && !whole; i++)
            if (marks->at[i].gone && marks->at[i].version >= before)
                dbk_found(kind, &(struct dbk_place){NULL, 0, marks->at[i].position}, "%s", what);
    }
}

static void next_checkpoint(struct book *book)
{
    struct dbk_bytes note;
    book->has_next = false;
    while (!book->has_next && dbk_note_take(&book->left, &note)) {
        uint64_t before = book->next.size;
        book->next_place =
            (struct dbk_place){"proof/checkpoints", (uint64_t)(note.data - book->notes.data), 0};
        const char *wrong = dbk_note_read(note, book->key, &book->next);
        if (wrong == NULL && book->next.size < before)
            wrong = "a larger checkpoint stands before it";
        if (wrong != NULL)
            dbk_found("checkpoint", &book->next_place, "%s", wrong);
        book->has_next = wrong == NULL;
    }
    if (!book->has_next && book->left.size > 0)
        dbk_found("checkpoint",
                  &(struct dbk_place){"proof/checkpoints", book->notes.size - book->left.size, 0},
                  "bytes that are no checkpoint; after a crash, who writes the book cuts them off");
}

static void compare_root(struct book *book, const struct dbk_checkpoint *checkpoint,
                         const struct dbk_place *place)
{
    struct dbk_hash root = dbk_tree_root(&book->tree);
    if (memcmp(&root, &checkpoint->root, sizeof(root)) != 0)
        dbk_found("checkpoint", &(struct dbk_place){place->file, place->offset, checkpoint->size},
                  "the events up to this position are not those that were signed");
}

static void compare_roots(struct book *book)
{
    if (book->kept_name != NULL && book->kept.size == book->tree.size)
        compare_root(book, &book->kept, &(struct dbk_place){book->kept_name, 0, 0});
    while (book->has_next && book->next.size == book->tree.size) {
        compare_root(book, &book->next, &book->next_place);
        next_checkpoint(book);
    }
}

/* A tile that is full, against the one in the file, if a checkpoint covers it. */
static void compare_tile(void *context, unsigned level, uint64_t index,
                         const struct dbk_hash *hashes)
{
    struct book *book = context;
    char name[24];
    const size_t size = DBK_TILE * DBK_HASH_SIZE;
    struct dbk_bytes tile = dbk_part(book->tiles[level], index * size, size);
    uint64_t leaves = UINT64_C(1) << (8 * level);
    if (!book->has_tiles || (index + 1) * DBK_TILE * leaves > book->newest)
        return;
    (void)snprintf(name, sizeof(name), "proof/tiles-%u", level);
    for (unsigned i = 0; i < DBK_TILE; i++) {
        uint64_t at = (uint64_t)i * DBK_HASH_SIZE;
        if (tile.data == NULL || memcmp(tile.data + at, &hashes[i], DBK_HASH_SIZE) != 0)
            dbk_found(
                "tile",
                &(struct dbk_place){name, index * size + at, (index * DBK_TILE + i) * leaves + 1},
                tile.data == NULL ? "the tile is missing" : "it has another hash here");
        if (tile.data == NULL)
            return;
    }
}

static void take_event(void *context, const struct dbk_record *record,
                       const struct dbk_place *place)
{
    struct book *book = context;
    struct dbk_hash leaf = {{0}};
    book->position = record->position;
    if ((record->flags & ~7u) != 0 || !dbk_record_hash(record, &leaf, sealed_gone, book))
        dbk_found("record", place, "its content is damaged");
    mark_event(book, record);
    dbk_tree_add(&book->tree, leaf);
    compare_roots(book);
}

static void map_proof(struct book *book)
{
    char path[DBK_PATH_MAX];
    struct dbk_bytes left;
    struct dbk_bytes note;
    struct dbk_checkpoint checkpoint;
    for (unsigned level = 0; level < 8; level++) {
        (void)snprintf(path, sizeof(path), "%s/proof/tiles-%u", book->folder, level);
        (void)dbk_file_map(path, &book->tiles[level]);
    }
    (void)snprintf(path, sizeof(path), "%s/proof/checkpoints", book->folder);
    (void)dbk_file_map(path, &book->notes);
    book->has_tiles = book->notes.size > 0;
    for (left = book->notes; dbk_note_take(&left, &note); book->checkpoints++)
        if (dbk_note_read(note, NULL, &checkpoint) == NULL)
            book->newest = checkpoint.size;
    book->left = book->notes;
}

static void sum_up(const struct book *book, const struct dbk_log *log)
{
    static const char text[] = "%" PRIu64 " events, %" PRIu64 " of them removed, %" PRIu64
                               " sealed fields without a ciphertext; %" PRIu64
                               " checkpoints, the newest of %" PRIu64 " events: %lu wrong\n";
    static const char json[] =
        "{\"events\":%" PRIu64 ",\"removed\":%" PRIu64 ",\"sealed_gone\":%" PRIu64
        ",\"checkpoints\":%" PRIu64 ",\"checkpoint\":%" PRIu64 ",\"wrong\":%lu}\n";
    printf(dbk_found_as_json ? json : text, log->last, log->removed, book->sealed_gone,
           book->checkpoints, book->newest, dbk_found_count);
}

bool dbk_book_check(const char *folder, bool backup, const struct dbk_key *key,
                    struct dbk_bytes kept, const char *kept_name)
{
    static struct book book;
    book = (struct book){.folder = folder, .key = key, .kept_name = kept_name};
    struct dbk_log log = {
        .folder = folder, .backup = backup, .event = take_event, .context = &book};
    book.tree.tile = compare_tile;
    book.tree.context = &book;
    const char *wrong = kept_name == NULL ? NULL : dbk_note_read(kept, key, &book.kept);
    if (wrong != NULL) {
        (void)fprintf(stderr, "daybook-verify: %s: %s\n", kept_name, wrong);
        return false;
    }
    if (!backup)
        map_proof(&book);
    next_checkpoint(&book);
    compare_roots(&book);
    bool read = dbk_log_read(&log);
    if (!read)
        (void)fprintf(stderr, "daybook-verify: %s: %s\n", folder, strerror(errno));
    uint64_t signed_size = book.kept.size > book.newest ? book.kept.size : book.newest;
    if (read && signed_size > log.last)
        dbk_found("size", &(struct dbk_place){NULL, 0, log.last},
                  "%" PRIu64 " events were signed, but the log ends at position %" PRIu64,
                  signed_size, log.last);
    explain(&book.streams, "removed", "the event was removed, and no rule of its stream says so");
    explain(&book.keys, "sealed", "a ciphertext was removed, and its key was not forgotten");
    if (read)
        sum_up(&book, &log);
    for (unsigned level = 0; level < 8; level++)
        dbk_file_unmap(book.tiles[level]);
    dbk_file_unmap(book.notes);
    free(book.streams.at);
    free(book.keys.at);
    return read;
}
