/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream -- an answer that is sent while it is made.
 *
 * A thread runs dbk_api_handle and writes into a ring of bytes; the connection's thread reads from
 * it. The writer waits where the ring is full; when the reader breaks it the writer's next call
 * fails.
 *
 * Threads: one writer, one reader.
 */
#ifndef DBK_SERVER_STREAM_H
#define DBK_SERVER_STREAM_H

#include <stdatomic.h>

#include "server/api.h"

#define DBK_STREAM_HEADERS_MAX 4

struct dbk_stream;

/* Starts the thread. The request is borrowed until dbk_stream_free. stopping: set when the server
   ends. */
int dbk_stream_open(struct dbk_engine *engine, const struct dbk_api_request *request,
                    const _Atomic bool *stopping, struct dbk_stream **stream_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Breaks the ring, and waits for the thread. NULL is fine. */
void dbk_stream_free(struct dbk_stream *stream);

/* Waits for the answer's head. Returns its status, 0 when there will be none. Fields are valid
   until free. */
int dbk_stream_head(struct dbk_stream *stream, const struct dbk_api_field **headers_out,
                    size_t *count_out);
/* Takes up to size bytes; waits at most a second for the first. 0: none came yet; -1: the end; -2:
   the answer broke off. */
long dbk_stream_read(struct dbk_stream *stream, char *bytes, size_t size);

#endif
