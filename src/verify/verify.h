/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify -- what daybook-verify is made of: a program that shares no code with the daemon.
 *
 * It reads a book, a backup, or the proof of one event by the documents in docs/format alone, and
 * says whether they are what was signed. Nothing is written.
 *
 *     file    files and folders                     log    segments, notes, manifests
 *     event   records, leaves, one event's proof    book   tiles, checkpoints, what explains gaps
 *     note    keys, signed checkpoints              tree   the Merkle tree
 *     bytes   numbers, hashes, base64, lines        main   arguments, findings
 *
 * Threads: one.
 * Source:  docs/format/log.md, backup.md, proof.md; RFC 6962; C2SP signed-note, tlog-proof.
 */
#ifndef DBK_VERIFY_VERIFY_H
#define DBK_VERIFY_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DBK_HASH_SIZE 32
#define DBK_PATH_MAX 4096

struct dbk_bytes {
    const uint8_t *data;
    size_t size;
};

struct dbk_hash {
    uint8_t bytes[DBK_HASH_SIZE];
};

/* Where something is wrong, and what: printed as it is found, and counted. */
struct dbk_place {
    const char *file; /* NULL: no file's */
    uint64_t offset;
    uint64_t position; /* 0: none in particular */
};
extern unsigned long dbk_found_count;
extern bool dbk_found_as_json;
void dbk_found(const char *kind, const struct dbk_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- file ---- */

/* Maps a file; false: it is not there, or cannot be read (errno). An empty one has no data. */
bool dbk_file_map(const char *path, struct dbk_bytes *bytes_out);
void dbk_file_unmap(struct dbk_bytes bytes);
bool dbk_file_is_folder(const char *path);
/* First positions of the segments in a folder, sorted; owned by the caller (free). -1: errno. */
long dbk_file_segments(const char *folder, uint64_t **positions_out);

/* ---- bytes ---- */

/* Room for items, which the caller frees; ends the program when there is no memory. */
void *dbk_room(void *old, size_t count, size_t size);
struct dbk_bytes dbk_part(struct dbk_bytes bytes, size_t offset, size_t size);
uint64_t dbk_number(const uint8_t *at, unsigned size); /* little-endian */
bool dbk_is_zero(const uint8_t *bytes, size_t size);
uint32_t dbk_crc(uint32_t seed, const uint8_t *bytes, size_t size);
struct dbk_hash dbk_sha256(struct dbk_bytes bytes);
/* Bytes written, at most 3 for each 4 of the text; -1: it is no base64. */
long dbk_base64(struct dbk_bytes text, uint8_t *bytes_out);
/* Takes a line, without its end; false: there is none that has one. */
bool dbk_line(struct dbk_bytes *text, struct dbk_bytes *line_out);
bool dbk_decimal(struct dbk_bytes text, uint64_t *number_out);

/* ---- tree ---- */

#define DBK_TILE 256
struct dbk_tree {
    uint64_t size;
    struct {
        struct dbk_hash edge[DBK_TILE];
        unsigned count;
        uint64_t tiles;
    } levels[8];
    /* Told each tile that is full; may be NULL. */
    void (*tile)(void *context, unsigned level, uint64_t index, const struct dbk_hash *hashes);
    void *context;
};
void dbk_tree_add(struct dbk_tree *tree, struct dbk_hash leaf);
struct dbk_hash dbk_tree_root(const struct dbk_tree *tree);
/* The root that an audit path leads to; false: it does not fit index and size. */
bool dbk_tree_walk(struct dbk_hash leaf, uint64_t index, uint64_t size, const struct dbk_hash *path,
                   size_t count, struct dbk_hash *root_out);

/* ---- note ---- */

struct dbk_key {
    struct dbk_bytes name;
    uint8_t id[4];
    uint8_t public_key[32];
};
bool dbk_key_read(struct dbk_bytes text, struct dbk_key *key_out);

struct dbk_checkpoint {
    struct dbk_bytes origin;
    uint64_t size;
    struct dbk_hash root;
};
/* Takes the first whole note off a text; false: there is none. */
bool dbk_note_take(struct dbk_bytes *text, struct dbk_bytes *note_out);
/* NULL: it is a checkpoint and the key (NULL: any) has signed it; else what is wrong. */
const char *dbk_note_read(struct dbk_bytes note, const struct dbk_key *key,
                          struct dbk_checkpoint *checkpoint_out);

/* ---- event ---- */

enum { DBK_BATCH_END = 1, DBK_JSON = 2, DBK_REMOVED = 4 };
struct dbk_record {
    uint64_t position;
    uint64_t version;
    int64_t time_us;
    uint32_t flags;
    struct dbk_bytes envelope; /* position to schema version, as it is hashed but for the flags */
    struct dbk_bytes stream, type, tags, data, meta, sealed;
};
/* Reads a record that is whole but for its checksum; false: its sizes do not fit. */
bool dbk_record_read(struct dbk_bytes bytes, struct dbk_record *record_out);
/* Its leaf; what is sealed without a ciphertext is told. False: the content is damaged. */
bool dbk_record_hash(const struct dbk_record *record, struct dbk_hash *leaf_out,
                     void (*gone)(void *context, const uint8_t key_id[16]), void *context);
/* A proof's text. 0: right, and the event was printed; 1: wrong, and it was said why. */
int dbk_proof_check(const char *name, struct dbk_bytes text, const struct dbk_key *key);

/* ---- log ---- */

struct dbk_log {
    const char *folder; /* book or backup */
    bool backup;
    uint8_t book_id[16];
    uint64_t last; /* position */
    int64_t last_time_us;
    uint64_t removed;
    void (*event)(void *context, const struct dbk_record *record, const struct dbk_place *place);
    void *context;
};
/* Reads all of it; what is wrong is told. False: it could not be read at all. */
bool dbk_log_read(struct dbk_log *log);

/* ---- book ---- */

/* Verifies a book's data directory, or a backup. kept: a note's text, or none. */
bool dbk_book_check(const char *folder, bool backup, const struct dbk_key *key,
                    struct dbk_bytes kept, const char *kept_name);

#endif
