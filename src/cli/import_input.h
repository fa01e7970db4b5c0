/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import_input -- the bytes of a file, decompressed where its first bytes say so.
 *
 * gzip (also several members one after the other), zstd (also several frames) or plain. A
 * compressed file that ends too early is an error, never a shorter file.
 *
 * Threads: an input belongs to one thread; dbk_input_progress from any.
 * Source:  RFC 1952, RFC 8878.
 */
#ifndef DBK_CLI_IMPORT_INPUT_H
#define DBK_CLI_IMPORT_INPUT_H

#include "base/memory.h"
#include "os/os.h"

struct dbk_input;

/*
 * Opens a file, or with "-" standard input. path is kept until free, for messages.
 * DBK_ENOTFOUND, DBK_EDENIED, DBK_EIO, DBK_ENOMEM
 */
int dbk_input_open(struct dbk_os *os, const char *path, struct dbk_input **input_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
void dbk_input_free(struct dbk_input *input);

/*
 * Reads up to size bytes; size_out 0 is the end.
 * DBK_ECORRUPT  the compressed bytes are damaged or end too early
 */
int dbk_input_read(struct dbk_input *input, char *buffer, size_t size, size_t *size_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* The path as it was opened, or "standard input". */
const char *dbk_input_path(const struct dbk_input *input);
/* Bytes of the file that have been read, and all of them (0: unknown). */
void dbk_input_progress(const struct dbk_input *input, uint64_t *done_out, uint64_t *total_out);

/* A path's last part without .gz, .zst and the like: the source's name. Borrowed from path. */
struct dbk_slice dbk_input_source_name(const char *path);

#endif
