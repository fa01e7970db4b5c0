/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify_fuzz -- daybook-verify stays within the bytes of whatever it is given: an event's proof, a
 * segment of a log, a backup's manifest and segment, checkpoints, tiles.
 *
 * The first byte says which file the others are; the files that the program asks for are these.
 * Nearly all mutations of a segment die at its checksums, so it is also tried with those that its
 * header, its first group and its first record should have.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/verify.h"

#define HEADER_SIZE 128
#define GROUP_SIZE 64

unsigned long dbk_found_count;
bool dbk_found_as_json;
static const char *served; /* the end of the names of files that are there */
static struct dbk_bytes content;

void dbk_found(const char *kind, const struct dbk_place *place, const char *format, ...)
{
    if (kind == NULL || place == NULL || format == NULL)
        abort();
    dbk_found_count++;
}

static bool ends_in(const char *path, const char *end)
{
    size_t size = strlen(path);
    return size >= strlen(end) && strcmp(path + size - strlen(end), end) == 0;
}

bool dbk_file_map(const char *path, struct dbk_bytes *bytes_out)
{
    *bytes_out = (struct dbk_bytes){0};
    bool there = ends_in(path, served);
    if (there)
        *bytes_out = content;
    errno = ENOENT;
    return there;
}

void dbk_file_unmap(struct dbk_bytes bytes)
{
    (void)bytes;
}

bool dbk_file_is_folder(const char *path)
{
    (void)path;
    return false;
}

long dbk_file_segments(const char *folder, uint64_t **positions_out)
{
    (void)folder;
    *positions_out = dbk_room(NULL, 1, sizeof(**positions_out));
    **positions_out = 1;
    return 1;
}

static void put_crc(uint8_t *at, uint32_t crc)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(crc >> (8 * i));
}

/* Gives a segment the checksums that its first parts should have, the innermost first. */
static void mend(uint8_t *bytes, size_t size)
{
    if (size < HEADER_SIZE + GROUP_SIZE + 8)
        return;
    uint8_t *group = bytes + HEADER_SIZE;
    uint8_t *record = group + GROUP_SIZE;
    size_t room = size - HEADER_SIZE - GROUP_SIZE;
    uint32_t salt = (uint32_t)dbk_number(bytes + 12, 4);
    size_t record_size = (size_t)dbk_number(record, 4);
    size_t payload_size = (size_t)dbk_number(group + 28, 4);
    if (record_size >= 8 && record_size <= room)
        put_crc(record + 4, dbk_crc(salt, record + 8, record_size - 8));
    put_crc(bytes + 124, dbk_crc(0, bytes, 124));
    put_crc(group + 36, bytes[96] > 0 ? dbk_crc(0, bytes, 96) : dbk_crc(0, bytes, 124));
    if (payload_size <= room)
        put_crc(group + 32, dbk_crc(salt, record, payload_size));
    put_crc(group + 4, dbk_crc(salt, group + 8, 56));
}

static void check(const char *name, bool backup)
{
    served = name;
    dbk_found_count = 0;
    (void)dbk_book_check("x", backup, NULL, (struct dbk_bytes){0}, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char public_key[] =
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    static bool silent;
    struct dbk_key key;
    silent = silent || freopen("/dev/null", "w", stdout) != NULL;
    if (size == 0 || !silent)
        return 0;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        abort();
    memcpy(copy, data + 1, size - 1);
    content = (struct dbk_bytes){copy, size - 1};
    if (!dbk_key_read((struct dbk_bytes){(const uint8_t *)public_key, sizeof(public_key) - 1},
                      &key))
        abort();
    if (data[0] == 'p')
        (void)dbk_proof_check("x", content, &key);
    else if (data[0] == 'c')
        check("/proof/checkpoints", false);
    else if (data[0] == 'n')
        check("/log/synced", false);
    else if (data[0] == 'm')
        check("", true);
    else {
        check(".seg", false);
        mend(copy, size - 1);
        check(".seg", false);
    }
    free(copy);
    return 0;
}
