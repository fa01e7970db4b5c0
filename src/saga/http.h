/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http -- one HTTP request and its answer, by a module that is loaded when it is first needed.
 *
 * `daybook-http.so` links libcurl, stands beside the program or in <libdir>/daybook, and exports
 * `dbk_http`: the program itself needs no HTTP client. Redirects are not followed, so that a
 * request goes nowhere but where book.yaml says; the environment's proxies are not looked at.
 *
 * Threads: a session belongs to one thread at a time.
 */
#ifndef DBK_SAGA_HTTP_H
#define DBK_SAGA_HTTP_H

#include "base/memory.h"

#define DBK_HTTP_VERSION 2
#define DBK_HTTP_SYMBOL "dbk_http"

struct dbk_saga_request {
    const char *url; /* without a '/' at its end */
    struct dbk_slice path;
    struct dbk_slice method;
    struct dbk_slice body; /* JSON; empty: none */
    const char *key;       /* Idempotency-Key, as a structured string */
    int64_t timeout_us;
    const _Atomic bool *ends; /* looked at once a second and more: ends the request */
};

struct dbk_http_client {
    unsigned version;
    void *(*create)(void);
    void (*end)(void *session);
    /* reply takes what fits, the rest is left. DBK_ECONNECT; DBK_ETIMEOUT; DBK_ESTOPPED. */
    int (*request)(void *session, const struct dbk_saga_request *request, unsigned *status_out,
                   char *reply, size_t reply_max, size_t *reply_size_out, struct dbk_error *err);
};

struct dbk_saga_http;
/* NULL: out of memory. */
struct dbk_saga_http *dbk_saga_http_create(void);
void dbk_saga_http_free(struct dbk_saga_http *http);
/* The answer's body is appended, up to the buffer's ceiling. DBK_ENOTFOUND: the module is not
   installed; DBK_EFORMAT: it is of another version; DBK_ECONNECT; DBK_ETIMEOUT; DBK_ESTOPPED: it
   was ended. */
int dbk_saga_http_do(struct dbk_saga_http *http, const struct dbk_saga_request *request,
                     unsigned *status_out, struct dbk_buf *reply,
                     struct dbk_error *err) DBK_MUST_CHECK;

#endif
