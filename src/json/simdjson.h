/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simdjson -- the walk over a text by simdjson's on-demand parser, behind a C interface.
 *
 * The walker hands every value to a sink in document order, with numbers as the text they are
 * written in; json.c makes nodes of them.
 *
 * Threads: a parser belongs to one thread at a time.
 * Source:  simdjson 3.0, doc/ondemand_design.md and doc/basics.md.
 */
#ifndef DBK_JSON_SIMDJSON_H
#define DBK_JSON_SIMDJSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes that must follow a text in memory. */
#define DBK_SIMDJSON_PADDING 64

struct dbk_simdjson;

enum dbk_simdjson_event {
    DBK_SIMDJSON_NULL,
    DBK_SIMDJSON_FALSE,
    DBK_SIMDJSON_TRUE,
    DBK_SIMDJSON_NUMBER, /* text is the token as written */
    DBK_SIMDJSON_STRING, /* text is unescaped */
    DBK_SIMDJSON_ARRAY,
    DBK_SIMDJSON_OBJECT,
    DBK_SIMDJSON_END, /* of the innermost container */
};

struct dbk_simdjson_value {
    enum dbk_simdjson_event event;
    const char *key; /* unescaped, of an object's member; NULL elsewhere */
    size_t key_size;
    const char *text; /* numbers and strings */
    size_t text_size;
    size_t offset; /* where the value begins in the text; of END: behind the bracket */
};

/* Negative: ends the walk with that code. */
typedef int (*dbk_simdjson_sink_fn)(void *context, const struct dbk_simdjson_value *value);
/* Whether a member with this key is wanted. */
typedef bool (*dbk_simdjson_wants_fn)(void *context, const char *key, size_t key_size);

struct dbk_simdjson *dbk_simdjson_create(void);
void dbk_simdjson_free(struct dbk_simdjson *parser);

/*
 * Walks one value. text has size bytes and DBK_SIMDJSON_PADDING readable ones behind. wants: asked
 * of each member of the outermost object; those that are not wanted are skipped, and only looked at
 * as far as that takes. NULL: all are.
 *
 * 0: all of it is well-formed; 1: it is not: *offset_out and *reason_out (a static string) say
 * where and why; 2: out of memory; negative: what the sink answered.
 */
int dbk_simdjson_walk(struct dbk_simdjson *parser, const char *text, size_t size,
                      unsigned depth_max, dbk_simdjson_sink_fn sink, dbk_simdjson_wants_fn wants,
                      void *context, size_t *offset_out, const char **reason_out);

#ifdef __cplusplus
}
#endif

#endif
