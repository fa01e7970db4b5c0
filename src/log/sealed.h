/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sealed -- an event's sealed section: personal fields apart from its clear data.
 *
 * The bytes are in log/record.h. A section is read field by field, and written by appending them
 * to a buffer in the byte order of their paths.
 *
 * Threads: pure functions.
 * Source:  docs/format/log.md, section 4.
 */
#ifndef DBK_LOG_SEALED_H
#define DBK_LOG_SEALED_H

#include <stdint.h>

#include "base/memory.h"
#include "base/uuid.h"

enum dbk_sealed_kind {
    DBK_SEALED_CIPHERTEXT = 0,
    DBK_SEALED_DIGEST = 1, /* its SHA-256: the ciphertext was removed */
};

struct dbk_sealed_field {
    struct dbk_slice path;
    enum dbk_sealed_kind kind;
    struct dbk_uuid key_id;
    struct dbk_slice value;
};

/* An event with fields under a key has this tag, by which the index finds it: "$key:" and the key
   id in hexadecimal digits, and a NUL. */
#define DBK_KEY_TAG_SIZE 37
void dbk_key_tag(const struct dbk_uuid *key_id, char tag_out[DBK_KEY_TAG_SIZE + 1]);

/*
 * The number of fields, and the bytes that dbk_sealed_next takes them from. An empty section has
 * none. DBK_ECORRUPT: it is no section.
 */
int dbk_sealed_open(struct dbk_slice sealed, uint16_t *count_out,
                    struct dbk_slice *fields_out) DBK_MUST_CHECK;
/* Takes the first field off them. 1: a field, which points into the section; 0: there is none;
   DBK_ECORRUPT. */
int dbk_sealed_next(struct dbk_slice *fields, struct dbk_sealed_field *field_out) DBK_MUST_CHECK;

/* A section of `count` fields begins; then that many are appended. Failures stay in the buffer. */
void dbk_sealed_begin(struct dbk_buf *out, uint16_t count);
void dbk_sealed_append(struct dbk_buf *out, const struct dbk_sealed_field *field);

/* Whether fields under a key have lost it for good. */
typedef bool (*dbk_sealed_erased_fn)(void *context, const struct dbk_uuid *key_id);
/*
 * Bytes that dropping the ciphertexts under erased keys would save; can be negative where they are
 * shorter than a digest.
 * 1: there are such; 0: none; DBK_ECORRUPT
 */
int dbk_sealed_droppable(struct dbk_slice sealed, dbk_sealed_erased_fn erased, void *context,
                         int64_t *size_out) DBK_MUST_CHECK;
/* Appends the section with these ciphertexts replaced by their digests. DBK_ECORRUPT, DBK_ENOMEM.
 */
int dbk_sealed_drop(struct dbk_slice sealed, dbk_sealed_erased_fn erased, void *context,
                    struct dbk_buf *out) DBK_MUST_CHECK;

#endif
