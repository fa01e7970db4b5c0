/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words -- JSON objects as NAME=VALUE words, the way a person types and reads them.
 *
 * Threads: pure functions.
 */
#ifndef DBK_CLI_WORDS_H
#define DBK_CLI_WORDS_H

#include "json/json.h"

/*
 * Writes words as a JSON object: numbers, true, false, null and "quoted" JSON strings as they
 * stand, all else as text.
 *
 * DBK_EINVAL  a word without '=', or a name given twice; the message names it
 * DBK_ENOMEM
 */
int dbk_words_parse(const char *const *words, size_t count, struct dbk_buf *out,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* Appends an object's members as words, texts without quotes; any other value as JSON. */
void dbk_words_write(struct dbk_buf *out, const struct dbk_json_node *value);

#endif
