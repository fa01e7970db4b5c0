/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http -- one HTTP request and its answer, by a module that is loaded when it is first needed.
 *
 * `daybook-http.so` links libcurl, stands beside the program or in <libdir>/daybook, and exports
 * `dbk_http`: the program itself needs no HTTP client. Redirects are not followed, so that a
 * request goes nowhere but where the book says; the environment's proxies are not looked at.
 *
 * Threads: a session belongs to one thread at a time.
 */
#ifndef DBK_TARGET_HTTP_H
#define DBK_TARGET_HTTP_H

#include "base/memory.h"

#define DBK_HTTP_VERSION 3
#define DBK_HTTP_SYMBOL "dbk_http"

struct dbk_http_request {
    const char *url;
    bool url_is_secret;    /* no message has it */
    struct dbk_slice path; /* behind the url */
    struct dbk_slice method;
    struct dbk_slice body;      /* JSON; empty: none */
    const char *key;            /* Idempotency-Key, as a structured string */
    const char *const *headers; /* more of them, "Name: value" each; in no message */
    size_t header_count;
    int64_t timeout_us;
    const _Atomic bool *ends; /* looked at once a second and more: ends the request */
};

struct dbk_http_client {
    unsigned version;
    void *(*create)(void);
    void (*end)(void *session);
    /* reply takes what fits, the rest is left. DBK_ECONNECT; DBK_ETIMEOUT; DBK_ESTOPPED. */
    int (*request)(void *session, const struct dbk_http_request *request, unsigned *status_out,
                   char *reply, size_t reply_max, size_t *reply_size_out, struct dbk_error *err);
};

struct dbk_http_session;
/* NULL: out of memory. */
struct dbk_http_session *dbk_http_session_create(void);
void dbk_http_session_free(struct dbk_http_session *http);
/* The answer's body is appended, up to the buffer's ceiling. DBK_ENOTFOUND: the module is not
   installed; DBK_EFORMAT: it is of another version; DBK_ECONNECT; DBK_ETIMEOUT; DBK_ESTOPPED: it
   was ended. */
int dbk_http_session_do(struct dbk_http_session *http, const struct dbk_http_request *request,
                        unsigned *status_out, struct dbk_buf *reply,
                        struct dbk_error *err) DBK_MUST_CHECK;

#endif
