/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verify/verify.h"

enum { EXIT_RIGHT = 0, EXIT_WRONG = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "daybook-verify shop/data --checkpoint kept.checkpoint --key shop.vkey\n"
    "daybook-verify /backups/shop --checkpoint kept.checkpoint --key shop.vkey\n"
    "daybook-verify event-17.tlog-proof --key shop.vkey\n"
    "\n"
    "Checks a book's data directory, a backup, or the proof of one event, without Daybook. Nobody\n"
    "may write the book meanwhile (`daybook verify` goes on beside a server).\n"
    "\n"
    "  --checkpoint FILE  one that was kept elsewhere: the events up to it must still be the same\n"
    "  --key VKEY         the public key as `daybook proof key` prints it, or a file that has it;\n"
    "                     without it no signature is checked\n"
    "  -o json            a line of JSON for each finding, and one at the end\n"
    "\n"
    "Ends with 0 when all is right; with 1 when something is not, which is named by kind, file,\n"
    "offset and position; with 2 when it cannot tell: usage, or a file that cannot be read.\n";

unsigned long dbk_found_count;
bool dbk_found_as_json;

void dbk_found(const char *kind, const struct dbk_place *place, const char *format, ...)
{
    char what[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    if (++dbk_found_count > 1000)
        return;
    if (dbk_found_as_json) {
        printf(
            "{\"kind\":\"%s\",\"file\":\"%s\",\"offset\":%ju,\"position\":%ju,\"what\":\"%s\"}\n",
            kind, place->file == NULL ? "" : place->file, (uintmax_t)place->offset,
            (uintmax_t)place->position, what);
        return;
    }
    printf("%s", kind);
    if (place->file != NULL)
        printf(", %s byte %ju", place->file, (uintmax_t)place->offset);
    if (place->position > 0)
        printf(", position %ju", (uintmax_t)place->position);
    printf(": %s\n", what);
}

static int fail(const char *what, const char *name)
{
    (void)fprintf(stderr, "daybook-verify: %s%s%s\n", name, name[0] == '\0' ? "" : ": ", what);
    return EXIT_USAGE;
}

/* The key's text, or a file's. */
static bool read_key(const char *text, struct dbk_bytes *file, struct dbk_key *key_out)
{
    struct dbk_bytes bytes = {(const uint8_t *)text, strlen(text)};
    return dbk_key_read(bytes, key_out) ||
           (dbk_file_map(text, file) && dbk_key_read(*file, key_out));
}

static int check(const char *name, const char *kept_name, const struct dbk_key *key)
{
    char path[DBK_PATH_MAX];
    struct dbk_bytes kept = {0};
    struct dbk_bytes text = {0};
    if (kept_name != NULL && !dbk_file_map(kept_name, &kept))
        return fail(strerror(errno), kept_name);
    (void)snprintf(path, sizeof(path), "%s/log", name);
    bool book = dbk_file_is_folder(path);
    if (book || dbk_file_is_folder(name)) {
        bool read = dbk_book_check(name, !book, key, kept, kept_name);
        dbk_file_unmap(kept);
        return !read ? EXIT_USAGE : dbk_found_count > 0 ? EXIT_WRONG : EXIT_RIGHT;
    }
    dbk_file_unmap(kept);
    if (!dbk_file_map(name, &text))
        return fail(strerror(errno), name);
    if (kept_name != NULL || key == NULL)
        return fail("one event's proof brings its checkpoint along, and needs a --key", "");
    int wrong = dbk_proof_check(name, text, key);
    dbk_file_unmap(text);
    return wrong ? EXIT_WRONG : EXIT_RIGHT;
}

int main(int argc, char **argv)
{
    struct dbk_bytes key_file = {0};
    struct dbk_key key;
    const char *name = NULL;
    const char *kept = NULL;
    const char *key_text = NULL;
    for (int i = 1; i < argc && argv[i] != NULL; i++) {
        const char *const value = i + 1 < argc ? argv[i + 1] : NULL;
        const char **const taken = strcmp(argv[i], "--checkpoint") == 0 ? &kept
                                   : strcmp(argv[i], "--key") == 0      ? &key_text
                                                                        : NULL;
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return fputs(usage, stdout) < 0 ? EXIT_USAGE : EXIT_RIGHT;
        if (strcmp(argv[i], "-o") == 0 && value != NULL && strcmp(value, "json") == 0) {
            dbk_found_as_json = true;
            i++;
        } else if (taken != NULL && value != NULL) {
            *taken = value;
            i++;
        } else if (argv[i][0] != '-' && name == NULL) {
            name = argv[i];
        } else {
            return fail("what is this? See daybook-verify --help", argv[i]);
        }
    }
    if (name == NULL)
        return fail("a data directory, a backup or a proof is missing; see daybook-verify --help",
                    "");
    if (key_text != NULL && !read_key(key_text, &key_file, &key))
        return fail("it is no public key, name+id+key, and no file that has one", key_text);
    int status = check(name, kept, key_text == NULL ? NULL : &key);
    dbk_file_unmap(key_file);
    if (fflush(stdout) != 0)
        return fail("the output failed", "");
    return status;
}
