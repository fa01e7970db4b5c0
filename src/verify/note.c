/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "verify/verify.h"

static const struct dbk_bytes dash = {(const uint8_t *)"\xE2\x80\x94 ", 4};

static bool take_until(struct dbk_bytes *text, uint8_t end, struct dbk_bytes *part_out)
{
    const uint8_t *at = text->size == 0 ? NULL : memchr(text->data, end, text->size);
    if (at == NULL || at == text->data)
        return false;
    *part_out = dbk_part(*text, 0, (size_t)(at - text->data));
    *text = dbk_part(*text, part_out->size + 1, text->size - part_out->size - 1);
    return true;
}

bool dbk_key_read(struct dbk_bytes text, struct dbk_key *key_out)
{
    struct dbk_bytes id;
    uint8_t typed[48];
    uint8_t input[1024];
    char expected[9];
    while (text.size > 0 && text.data[text.size - 1] == '\n')
        text.size--;
    if (!take_until(&text, '+', &key_out->name) || !take_until(&text, '+', &id) ||
        text.size != 44 || dbk_base64(text, typed) != 33 || typed[0] != 1 ||
        key_out->name.size > sizeof(input) - 34)
        return false;
    memcpy(key_out->public_key, typed + 1, 32);
    memcpy(input, key_out->name.data, key_out->name.size);
    input[key_out->name.size] = '\n';
    memcpy(input + key_out->name.size + 1, typed, 33);
    struct dbk_hash hash = dbk_sha256((struct dbk_bytes){input, key_out->name.size + 34});
    memcpy(key_out->id, hash.bytes, 4);
    (void)snprintf(expected, sizeof(expected), "%02x%02x%02x%02x", hash.bytes[0], hash.bytes[1],
                   hash.bytes[2], hash.bytes[3]);
    return id.size == 8 && memcmp(id.data, expected, 8) == 0;
}

/* Where the signatures begin; 0: nowhere. */
static size_t signatures_at(struct dbk_bytes note)
{
    const uint8_t *found = note.size == 0 ? NULL : memmem(note.data, note.size, "\n\n", 2);
    return found == NULL ? 0 : (size_t)(found - note.data) + 2;
}

bool dbk_note_take(struct dbk_bytes *text, struct dbk_bytes *note_out)
{
    size_t begin = signatures_at(*text);
    size_t end = begin;
    while (begin > 0) {
        struct dbk_bytes left = dbk_part(*text, end, text->size - end);
        struct dbk_bytes line;
        if (left.size < dash.size || memcmp(left.data, dash.data, dash.size) != 0 ||
            !dbk_line(&left, &line))
            break;
        end += line.size + 1;
    }
    if (end == begin)
        return false;
    *note_out = dbk_part(*text, 0, end);
    *text = dbk_part(*text, end, text->size - end);
    return true;
}

static bool has_signed(const struct dbk_key *key, struct dbk_bytes text, const uint8_t *signature)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key->public_key, 32);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool right = pkey != NULL && context != NULL &&
                 EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
                 EVP_DigestVerify(context, signature, 64, text.data, text.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    return right;
}

const char *dbk_note_read(struct dbk_bytes note, const struct dbk_key *key,
                          struct dbk_checkpoint *checkpoint_out)
{
    size_t begin = signatures_at(note);
    struct dbk_bytes text = dbk_part(note, 0, begin == 0 ? 0 : begin - 1);
    struct dbk_bytes left = text;
    struct dbk_bytes line;
    struct dbk_bytes name;
    uint8_t bytes[96];
    bool found = key == NULL;
    for (size_t i = 0; i < note.size; i++)
        if (note.data[i] < ' ' && note.data[i] != '\n')
            return "it has characters that no note has";
    if (begin == 0 || !dbk_line(&left, &checkpoint_out->origin) || !dbk_line(&left, &line) ||
        !dbk_decimal(line, &checkpoint_out->size) || !dbk_line(&left, &line) || line.size != 44 ||
        checkpoint_out->origin.size == 0 || dbk_base64(line, bytes) != DBK_HASH_SIZE)
        return "it is no checkpoint: origin, size and root";
    memcpy(checkpoint_out->root.bytes, bytes, DBK_HASH_SIZE);
    left = dbk_part(note, begin, note.size - begin);
    while (dbk_line(&left, &line)) {
        if (line.size < dash.size || memcmp(line.data, dash.data, dash.size) != 0)
            return "it has a signature line that is none";
        line = dbk_part(line, dash.size, line.size - dash.size);
        if (!take_until(&line, ' ', &name))
            return "it has a signature line that is none";
        if (key == NULL || name.size != key->name.size || line.size > 96 ||
            memcmp(name.data, key->name.data, name.size) != 0)
            continue;
        long size = dbk_base64(line, bytes);
        if (size < 4)
            return "it has a signature that is none";
        if (memcmp(bytes, key->id, 4) != 0)
            continue;
        if (size != 68 || !has_signed(key, text, bytes + 4))
            return "the key's signature is not of this text";
        found = true;
    }
    return left.size > 0 ? "it ends amid a line"
           : found       ? NULL
                         : "it is not signed by the key that was given";
}
