/* SPDX-License-Identifier: Apache-2.0 */
/*
 * note -- checkpoints as signed notes, and the keys that sign them.
 *
 *     daybook/shop/0189dcd5-5311-7d40-8db0-9496a2eef37b       origin, also the key's name
 *     20852163                                                size of the tree
 *     CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=            its root
 *                                                             an empty line
 *     — daybook/shop/0189dcd5-… Az3grlgtzPICa5OS8npVmf1M…     name, base64(key id || signature)
 *
 * A public key as text is `name+<key id in hex>+base64(1 || public key)`, a secret one
 * `PRIVATE+KEY+name+<key id in hex>+base64(1 || seed)`. Signature lines of other keys, such as
 * witnesses', are passed over.
 *
 * Threads: pure functions.
 * Source:  C2SP signed-note and tlog-checkpoint; RFC 8032 for Ed25519, by OpenSSL's libcrypto.
 */
#ifndef DBK_PROOF_NOTE_H
#define DBK_PROOF_NOTE_H

#include "base/memory.h"
#include "os/os.h"
#include "proof/merkle.h"

#define DBK_KEY_NAME_SIZE_MAX 400
#define DBK_KEY_SIZE 32
/* No note that we sign is longer; with other signatures it may be. */
#define DBK_NOTE_SIZE_MAX ((size_t)1024)
/* Room for a key's text. */
#define DBK_KEY_TEXT_SIZE_MAX ((size_t)512)

struct dbk_key {
    char name[DBK_KEY_NAME_SIZE_MAX + 1]; /* no spaces, no '+' */
    uint8_t id[4];
    uint8_t public_key[DBK_KEY_SIZE];
    uint8_t seed[DBK_KEY_SIZE]; /* of a secret key */
    bool secret;
};

/* A new secret key. DBK_ELIMIT: the name is too long; DBK_EINVAL: it has other characters. */
int dbk_key_make(struct dbk_os *os, const char *name, struct dbk_key *key_out,
                 struct dbk_error *err) DBK_MUST_CHECK;
/* The public key's text, without a line's end; and the secret one's, with it. */
void dbk_key_format(const struct dbk_key *key, struct dbk_buf *out);
void dbk_key_format_secret(const struct dbk_key *key, struct dbk_buf *out);
/* Reads either; false when it is no such text. */
bool dbk_key_parse(struct dbk_slice text, struct dbk_key *key_out) DBK_MUST_CHECK;

struct dbk_checkpoint {
    struct dbk_slice note; /* all of it, as it was signed */
    struct dbk_slice origin;
    uint64_t size;
    struct dbk_hash root;
};

/* Makes a signed note of the text that stands in a buffer from `begin` on, and ends with a newline.
   DBK_ENOMEM */
int dbk_note_sign(const struct dbk_key *key, size_t begin, struct dbk_buf *out,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Appends the signed note to a buffer. DBK_ENOMEM */
int dbk_checkpoint_sign(const struct dbk_key *key, uint64_t size, const struct dbk_hash *root,
                        struct dbk_buf *out, struct dbk_error *err) DBK_MUST_CHECK;

/* Takes the first of notes that stand one behind the other; false when no whole one does. */
bool dbk_note_next(struct dbk_slice *notes, struct dbk_slice *note_out) DBK_MUST_CHECK;
/*
 * Reads a note as a checkpoint and checks its signature.
 *
 * key  NULL: not checked
 *
 * DBK_EINVAL    it is no checkpoint
 * DBK_ENOTFOUND the key has not signed it; the message says who has
 * DBK_ECORRUPT  the key's signature is not of this text
 */
int dbk_checkpoint_parse(struct dbk_slice note, const struct dbk_key *key,
                         struct dbk_checkpoint *checkpoint_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

#endif
