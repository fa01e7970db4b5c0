/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/note.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/base64.h"

#define SIGNATURE_SIZE 64
#define ED25519 1 /* the note format's number for it */
#define DASH "\xE2\x80\x94 "
#define SECRET_PREFIX "PRIVATE+KEY+"
/* A key id and a signature, with room for other kinds of signature, as text. */
#define SIGNATURE_TEXT_MAX 16384

static bool is_name(struct dbk_slice name)
{
    for (size_t i = 0; i < name.size; i++)
        if ((uint8_t)name.data[i] <= ' ' || name.data[i] == '+' || name.data[i] == 0x7F)
            return false;
    return name.size > 0 && name.size <= DBK_KEY_NAME_SIZE_MAX && dbk_slice_is_utf8(name);
}

static void set_name(struct dbk_key *key, struct dbk_slice name)
{
    static const char type[] = {'\n', ED25519};
    uint8_t digest[DBK_SHA256_SIZE];
    struct dbk_sha256 hash;
    dbk_assert(name.data != NULL && name.size <= DBK_KEY_NAME_SIZE_MAX);
    memcpy(key->name, name.data, name.size);
    key->name[name.size] = 0;
    dbk_sha256_init(&hash);
    dbk_sha256_update(&hash, name);
    dbk_sha256_update(&hash, dbk_slice(type, sizeof(type)));
    dbk_sha256_update(&hash, dbk_slice(key->public_key, DBK_KEY_SIZE));
    dbk_sha256_final(&hash, digest);
    memcpy(key->id, digest, sizeof(key->id));
}

static bool derive_public(struct dbk_key *key)
{
    size_t size = DBK_KEY_SIZE;
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->seed, DBK_KEY_SIZE);
    bool done = pkey != NULL && EVP_PKEY_get_raw_public_key(pkey, key->public_key, &size) == 1;
    EVP_PKEY_free(pkey);
    return done && size == DBK_KEY_SIZE;
}

int dbk_key_make(struct dbk_os *os, const char *name, struct dbk_key *key_out,
                 struct dbk_error *err)
{
    struct dbk_key key = {.secret = true};
    if (!is_name(dbk_slice_of(name)))
        return dbk_error_set(err, DBK_EINVAL, "a key cannot be called \"%.100s\"", name);
    int rc = os->random(os, key.seed, sizeof(key.seed), err);
    if (rc < 0)
        return rc;
    if (!derive_public(&key))
        return dbk_error_set(err, DBK_ENOMEM, "out of memory making a key");
    set_name(&key, dbk_slice_of(name));
    *key_out = key;
    return DBK_OK;
}

static void format(const struct dbk_key *key, const uint8_t bytes[DBK_KEY_SIZE],
                   struct dbk_buf *out)
{
    uint8_t typed[1 + DBK_KEY_SIZE] = {ED25519};
    memcpy(typed + 1, bytes, DBK_KEY_SIZE);
    dbk_buf_append_format(out, "%s+%02x%02x%02x%02x+", key->name, key->id[0], key->id[1],
                          key->id[2], key->id[3]);
    dbk_base64_encode(dbk_slice(typed, sizeof(typed)), out);
}

void dbk_key_format(const struct dbk_key *key, struct dbk_buf *out)
{
    format(key, key->public_key, out);
}

void dbk_key_format_secret(const struct dbk_key *key, struct dbk_buf *out)
{
    dbk_buf_append_text(out, SECRET_PREFIX);
    format(key, key->seed, out);
    dbk_buf_append_char(out, '\n');
}

/* What stands before a character, which is passed over. */
static bool take_until(struct dbk_slice *text, char end, struct dbk_slice *part_out)
{
    const char *at = text->size == 0 ? NULL : memchr(text->data, end, text->size);
    if (at == NULL)
        return false;
    *part_out = dbk_slice(text->data, (size_t)(at - text->data));
    *text = dbk_slice(at + 1, text->size - part_out->size - 1);
    return true;
}

bool dbk_key_parse(struct dbk_slice text, struct dbk_key *key_out)
{
    struct dbk_slice prefix = DBK_SLICE_LITERAL(SECRET_PREFIX);
    struct dbk_key key = {0};
    struct dbk_slice name;
    struct dbk_slice id;
    uint8_t bytes[DBK_BASE64_ROOM(64)];
    char expected[9];
    size_t size = 0;
    while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
        text.size--;
    key.secret = dbk_slice_starts_with(text, prefix);
    if (key.secret)
        text = dbk_slice(text.data + prefix.size, text.size - prefix.size);
    if (!take_until(&text, '+', &name) || !take_until(&text, '+', &id) || !is_name(name) ||
        text.size > 64 || !dbk_base64_decode(text, bytes, &size) || size != 1 + DBK_KEY_SIZE ||
        bytes[0] != ED25519)
        return false;
    memcpy(key.secret ? key.seed : key.public_key, bytes + 1, DBK_KEY_SIZE);
    if (key.secret && !derive_public(&key))
        return false;
    set_name(&key, name);
    (void)snprintf(expected, sizeof(expected), "%02x%02x%02x%02x", key.id[0], key.id[1], key.id[2],
                   key.id[3]);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    if (!dbk_slice_equal_text(id, expected))
        return false;
    *key_out = key;
    return true;
}

static bool sign(const struct dbk_key *key, struct dbk_slice text,
                 uint8_t signature[SIGNATURE_SIZE])
{
    size_t size = SIGNATURE_SIZE;
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->seed, DBK_KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done =
        pkey != NULL && context != NULL &&
        EVP_DigestSignInit(context, NULL, NULL, NULL, pkey) == 1 &&
        EVP_DigestSign(context, signature, &size, (const uint8_t *)text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    return done && size == SIGNATURE_SIZE;
}

static bool has_signed(const struct dbk_key *key, struct dbk_slice text,
                       const uint8_t signature[SIGNATURE_SIZE])
{
    EVP_PKEY *pkey =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->public_key, DBK_KEY_SIZE);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool right = pkey != NULL && context != NULL &&
                 EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
                 EVP_DigestVerify(context, signature, SIGNATURE_SIZE, (const uint8_t *)text.data,
                                  text.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    return right;
}

int dbk_note_sign(const struct dbk_key *key, size_t begin, struct dbk_buf *out,
                  struct dbk_error *err)
{
    uint8_t signature[sizeof(key->id) + SIGNATURE_SIZE];
    memcpy(signature, key->id, sizeof(key->id));
    if (out->rc < 0 ||
        !sign(key, dbk_slice(out->data + begin, out->size - begin), signature + sizeof(key->id)))
        return dbk_error_set(err, DBK_ENOMEM, "out of memory signing a note");
    dbk_buf_append_format(out, "\n" DASH "%s ", key->name);
    dbk_base64_encode(dbk_slice(signature, sizeof(signature)), out);
    dbk_buf_append_char(out, '\n');
    return out->rc < 0 ? dbk_error_set(err, out->rc, "out of memory signing a note") : DBK_OK;
}

int dbk_checkpoint_sign(const struct dbk_key *key, uint64_t size, const struct dbk_hash *root,
                        struct dbk_buf *out, struct dbk_error *err)
{
    size_t begin = out->size;
    dbk_buf_append_format(out, "%s\n%" PRIu64 "\n", key->name, size);
    dbk_base64_encode(dbk_slice(root->bytes, sizeof(root->bytes)), out);
    dbk_buf_append_char(out, '\n');
    return dbk_note_sign(key, begin, out, err);
}

/* Where the text of the first note ends and its signature lines begin; 0: nowhere. */
static size_t signatures_at(struct dbk_slice note)
{
    const char *found = note.size == 0 ? NULL : memmem(note.data, note.size, "\n\n", 2);
    return found == NULL ? 0 : (size_t)(found - note.data) + 2;
}

bool dbk_note_next(struct dbk_slice *notes, struct dbk_slice *note_out)
{
    struct dbk_slice dash = DBK_SLICE_LITERAL(DASH);
    size_t begin = signatures_at(*notes);
    size_t end = begin;
    while (begin > 0) {
        struct dbk_slice left = dbk_slice(notes->data + end, notes->size - end);
        struct dbk_slice line;
        if (!dbk_slice_starts_with(left, dash) || !take_until(&left, '\n', &line))
            break;
        end += line.size + 1;
    }
    if (end == begin)
        return false;
    *note_out = dbk_slice(notes->data, end);
    *notes = dbk_slice(notes->data + end, notes->size - end);
    return true;
}

/* Origin, size and root; lines that others added may follow. */
static bool parse_text(struct dbk_slice text, struct dbk_checkpoint *checkpoint)
{
    struct dbk_slice size;
    struct dbk_slice root;
    uint8_t bytes[DBK_BASE64_ROOM(44)];
    size_t root_size = 0;
    if (!take_until(&text, '\n', &checkpoint->origin) || !take_until(&text, '\n', &size) ||
        !take_until(&text, '\n', &root) || checkpoint->origin.size == 0 || size.size == 0 ||
        (size.data[0] == '0' && size.size > 1) || !dbk_slice_to_u64(size, &checkpoint->size) ||
        root.size != 44 || !dbk_base64_decode(root, bytes, &root_size) ||
        root_size != DBK_SHA256_SIZE)
        return false;
    memcpy(checkpoint->root.bytes, bytes, DBK_SHA256_SIZE);
    return true;
}

static bool is_clean(struct dbk_slice text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((uint8_t)text.data[i] < ' ' && text.data[i] != '\n')
            return false;
    return dbk_slice_is_utf8(text);
}

/* Looks at one signature line. 1: the key's, and right; 0: another's; negative: wrong. */
static int check_line(struct dbk_slice line, struct dbk_slice text, const struct dbk_key *key,
                      struct dbk_slice *name_out)
{
    uint8_t bytes[DBK_BASE64_ROOM(96)];
    size_t size = 0;
    line = dbk_slice(line.data + sizeof(DASH) - 1, line.size - sizeof(DASH) + 1);
    if (!take_until(&line, ' ', name_out) || !is_name(*name_out) || line.size > SIGNATURE_TEXT_MAX)
        return DBK_EINVAL;
    if (key == NULL || !dbk_slice_equal_text(*name_out, key->name) || line.size > 96)
        return 0;
    if (!dbk_base64_decode(line, bytes, &size) || size < sizeof(key->id))
        return DBK_EINVAL;
    if (memcmp(bytes, key->id, sizeof(key->id)) != 0)
        return 0;
    return size == sizeof(key->id) + SIGNATURE_SIZE &&
                   has_signed(key, text, bytes + sizeof(key->id))
               ? 1
               : DBK_ECORRUPT;
}

int dbk_checkpoint_parse(struct dbk_slice note, const struct dbk_key *key,
                         struct dbk_checkpoint *checkpoint_out, struct dbk_error *err)
{
    struct dbk_checkpoint checkpoint = {.note = note};
    struct dbk_slice left = note;
    struct dbk_slice whole;
    struct dbk_slice name = {0};
    struct dbk_slice line;
    bool found = key == NULL;
    if (!is_clean(note) || !dbk_note_next(&left, &whole) || left.size > 0 ||
        !parse_text(dbk_slice(note.data, signatures_at(note) - 1), &checkpoint))
        return dbk_error_set(err, DBK_EINVAL,
                             "that is no checkpoint: a signed note that names an "
                             "origin, a size and a root");
    size_t begin = signatures_at(note);
    struct dbk_slice text = dbk_slice(note.data, begin - 1);
    left = dbk_slice(note.data + begin, note.size - begin);
    while (take_until(&left, '\n', &line)) {
        int rc = check_line(line, text, key, &name);
        if (rc == DBK_ECORRUPT)
            return dbk_error_set(err, rc, "the signature of %s is not of this checkpoint",
                                 key->name);
        if (rc < 0)
            return dbk_error_set(err, rc, "the checkpoint has a signature line that is none");
        found |= rc > 0;
    }
    if (!found)
        return dbk_error_set(err, DBK_ENOTFOUND,
                             "the checkpoint of %.*s is signed by %.*s, not by the key %s+%02x%02x"
                             "%02x%02x",
                             DBK_SLICE_ARGS(checkpoint.origin), DBK_SLICE_ARGS(name), key->name,
                             key->id[0], key->id[1], key->id[2], key->id[3]);
    *checkpoint_out = checkpoint;
    return DBK_OK;
}
