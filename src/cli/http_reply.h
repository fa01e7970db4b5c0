/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_reply -- an HTTP/1.1 response, decoded as its bytes arrive.
 *
 * Pure: no sockets. Bytes are pushed in pieces of any size; status and the few headers that matter
 * are kept, the body (by content-length, chunked, or to the end of the connection) is handed on as
 * it comes. Responses of status 1xx are passed over.
 *
 * Threads: a reply belongs to one thread.
 * Source:  RFC 9112, sections 4 to 7.
 */
#ifndef DBK_CLI_HTTP_REPLY_H
#define DBK_CLI_HTTP_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

#define DBK_HTTP_LINE_SIZE_MAX 8192
#define DBK_HTTP_HEADER_COUNT_MAX 100

enum dbk_http_reply_state {
    DBK_HTTP_STATUS_LINE,
    DBK_HTTP_HEADERS,
    DBK_HTTP_BODY_SIZED, /* `left` bytes of body are to come */
    DBK_HTTP_BODY_OPEN,  /* body until the connection ends */
    DBK_HTTP_CHUNK_SIZE,
    DBK_HTTP_CHUNK, /* `left` bytes of this chunk are to come */
    DBK_HTTP_CHUNK_END,
    DBK_HTTP_TRAILERS,
    DBK_HTTP_DONE,
};

/* Gets body bytes, borrowed for the call; a negative answer ends the decoding with it. */
typedef int (*dbk_http_body_fn)(void *context, struct dbk_slice bytes);

struct dbk_http_reply {
    enum dbk_http_reply_state state;
    dbk_http_body_fn body;
    void *context;
    int status;        /* 0 until its line has come */
    bool json;         /* content-type is application/json or ends with +json */
    uint64_t position; /* Daybook-Position; 0: none */
    bool chunked;
    bool sized;
    uint64_t left;
    unsigned header_count;
    size_t line_size; /* bytes of an unfinished line in `line` */
    char line[DBK_HTTP_LINE_SIZE_MAX];
};

void dbk_http_reply_init(struct dbk_http_reply *reply, dbk_http_body_fn body, void *context);

/*
 * Takes bytes; used_out (may be NULL) is how many belonged to this response.
 * DBK_EINVAL  it is no HTTP/1.1 response
 * DBK_ELIMIT  a line or the number of headers is past its maximum
 */
int dbk_http_reply_push(struct dbk_http_reply *reply, struct dbk_slice bytes, size_t *used_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* The connection ended. DBK_EIO: in the middle of the response. */
int dbk_http_reply_end(struct dbk_http_reply *reply, struct dbk_error *err) DBK_MUST_CHECK;

#endif
