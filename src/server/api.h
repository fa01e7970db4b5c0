/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api -- one request to one response, without sockets.
 *
 * Every operation of Daybook exists once, here: the HTTP server and, where no server runs, the CLI
 * hand requests to it. Bodies are JSON; errors are RFC 9457 problem documents whose `code` is
 * dbk_code_name and whose status follows one table. docs/http.md lists the resources.
 *
 * Threads: dbk_api_handle from any thread; a request and its response belong to one.
 * Source:  RFC 9110, RFC 9457; server-sent events: the WHATWG HTML standard, section 9.2.
 */
#ifndef DBK_SERVER_API_H
#define DBK_SERVER_API_H

#include "access/access.h"

struct dbk_api_field {
    struct dbk_slice name;
    struct dbk_slice value;
};

struct dbk_api_request {
    struct dbk_slice method;
    struct dbk_slice path;               /* percent-encoded, without the query */
    struct dbk_slice query;              /* percent-encoded, without '?' */
    const struct dbk_api_field *headers; /* names in any case */
    size_t header_count;
    struct dbk_slice body;
    struct dbk_access *access;       /* NULL: the book is in this process, and asks for no key */
    const struct dbk_caller *caller; /* whose good key came with it; NULL: none did */
};

/*
 * Where the response goes. `begin` once, then `write` as often as it takes; both answer negative
 * when the client is gone, which ends the handling. `wait` is called by live tails when there is
 * nothing to send, and by long work before its answer: negative when the client is gone or the
 * server stops. `progress` (may be NULL) is told how far work is that comes before its answer.
 * `limit` (may be NULL): so long from now `write` waits at most for a client that takes nothing.
 */
struct dbk_api_response {
    void *context;
    int (*begin)(void *context, int status, const struct dbk_api_field *headers,
                 size_t header_count);
    int (*write)(void *context, struct dbk_slice bytes);
    int (*wait)(void *context);
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void (*limit)(void *context, int64_t limit_us);
};

/*
 * Handles a request whole; every failure has become a problem document. Returns the status sent, or
 * a negative code when the answer broke off after it had begun: the client is gone, or reading
 * failed behind the first rows (the problem document is then the last thing written).
 */
int dbk_api_handle(struct dbk_engine *engine, const struct dbk_api_request *request,
                   const struct dbk_api_response *response);

/* True when the answer may be long or live, so that it should be sent while it is made. */
bool dbk_api_streams(const struct dbk_api_request *request);

/* An event as JSON on one line; state (may be empty) becomes its last member. */
void dbk_put_event(struct dbk_buf *out, const struct dbk_event *event, struct dbk_slice state);

/* HTTP status of a code: DBK_ECONFLICT is 409 (412 with If-Match), and so on. */
int dbk_api_status(int code);

#endif
