/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call -- a request being put together: method, path, query, headers, body.
 *
 * Threads: a call belongs to one thread.
 */
#ifndef DBK_CLI_CALL_H
#define DBK_CLI_CALL_H

#include "cli/arguments.h"
#include "server/api.h"

#define DBK_CALL_HEADERS_MAX 8

struct dbk_call {
    const char *method;
    struct dbk_buf path;  /* percent-encoded */
    struct dbk_buf query; /* percent-encoded, without '?' */
    struct dbk_api_field headers[DBK_CALL_HEADERS_MAX];
    size_t header_count;
    struct dbk_buf body;
    bool nameless; /* a name in the path is empty */
};

/* path: fixed text that needs no encoding; borrowed for the call. */
void dbk_call_init(struct dbk_call *call, const char *method, const char *path);
void dbk_call_release(struct dbk_call *call);
/* Appends a name to the path, percent-encoded; an empty one fails the call's check. */
void dbk_call_path(struct dbk_call *call, struct dbk_slice name);
void dbk_call_query(struct dbk_call *call, const char *name, struct dbk_slice value);
/* The query parameter of an option's name, '-' written as '_', when the option was given; a flag
   is `true`. */
void dbk_call_option(struct dbk_call *call, const struct dbk_arguments *arguments,
                     const char *option, const char *parameter);
/*
 * Appends JSON of the command line to the body, as it stands, so it must be one value: DBK_EINVAL
 * says where it is not, in `what` ("--query").
 */
int dbk_call_json(struct dbk_call *call, const char *what, const char *text,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* value is kept until the call is released. */
void dbk_call_header(struct dbk_call *call, const char *name, const char *value);
/* DBK_OK, or why a part could not be put in. */
int dbk_call_check(const struct dbk_call *call, struct dbk_error *err) DBK_MUST_CHECK;

#endif
