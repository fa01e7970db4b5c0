/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request -- what came in, taken apart: path, query, headers; and what goes out.
 *
 * Threads: a call belongs to one thread.
 * Source:  RFC 3986, section 2.1; RFC 9110; RFC 9457.
 */
#ifndef DBK_SERVER_REQUEST_H
#define DBK_SERVER_REQUEST_H

#include "server/api.h"

#define DBK_PATH_PARTS_MAX 5
#define DBK_QUERY_MAX 64
#define DBK_URL_SIZE_MAX 8192

struct dbk_route;

struct dbk_api_call {
    struct dbk_engine *engine;
    const struct dbk_api_request *request;
    const struct dbk_api_response *response;
    const struct dbk_route *route; /* once it is found */
    struct dbk_scratch *scratch;
    struct dbk_slice parts[DBK_PATH_PARTS_MAX]; /* of the path, decoded */
    size_t part_count;
    struct dbk_api_field query[DBK_QUERY_MAX]; /* decoded, in order */
    size_t query_count;
    int status;        /* of the answer, once it has begun */
    bool live;         /* it is text/event-stream */
    bool whole;        /* it is sent at once */
    uint64_t position; /* for the header Daybook-Position; 0: none */
    bool has_lag;
    int64_t lag_us; /* for the header Daybook-Lag-Ms */
    bool retry;     /* for the header Retry-After */
};

/* Decodes %XX (and, in a query, '+'); false when it is malformed, or what it
   stands for has a NUL or is not UTF-8. */
bool dbk_percent_decode(struct dbk_slice text, bool plus, struct dbk_arena *arena,
                        struct dbk_slice *decoded_out);
/* Takes path and query apart. DBK_EINVAL, DBK_ELIMIT, DBK_ENOMEM. */
int dbk_call_take_apart(struct dbk_api_call *call, struct dbk_error *err) DBK_MUST_CHECK;

/* A header's value, by its name in any case; empty when it is not there. */
struct dbk_slice dbk_call_header_of(const struct dbk_api_call *call, const char *name);
bool dbk_call_accepts(const struct dbk_api_call *call, const char *type);

/* A query parameter's value; false when it is not there. */
bool dbk_call_text(const struct dbk_api_call *call, const char *name, struct dbk_slice *value_out);
/* The same as numbers and instants; the output is left alone where it is not there. DBK_EINVAL
   names parameter and value. */
int dbk_call_number(const struct dbk_api_call *call, const char *name, uint64_t *value_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
int dbk_call_time(const struct dbk_api_call *call, const char *name, int64_t *time_us_out,
                  struct dbk_error *err) DBK_MUST_CHECK;
int dbk_call_flag(const struct dbk_api_call *call, const char *name, bool *value_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

/* Sends what is in scratch->out, whole. Returns the status, or negative when the client is gone. */
int dbk_call_send(struct dbk_api_call *call, int status, const char *type);
/* Sends JSON; a buffer that failed becomes a problem. */
int dbk_call_send_json(struct dbk_api_call *call, int status);
/* Begins an answer that is made bit by bit. */
int dbk_call_begin(struct dbk_api_call *call, int status, const char *type);
/* Writes scratch->out and empties it. DBK_ECONNECT also when an answer is made bit by bit, and the
   key that it was asked with is not good any more. */
int dbk_call_flush(struct dbk_api_call *call);

/* Before a live tail or long work goes on. DBK_ECONNECT: the client is gone, the server stops, or
   the key that it was asked with is not good any more. */
int dbk_call_wait(const struct dbk_api_call *call) DBK_MUST_CHECK;

/* A problem document; extra (may be NULL) is JSON of further members, with a comma before. */
int dbk_call_problem(struct dbk_api_call *call, int status, const struct dbk_error *err,
                     const char *extra);
/* The same with the status of the code. Behind a begun answer it is its last line. */
int dbk_call_fail(struct dbk_api_call *call, const struct dbk_error *err);

/* Members of JSON objects, for all who write answers. */
void dbk_put_text(struct dbk_buf *out, bool *first, const char *key, struct dbk_slice text);
/* Milliseconds, with three digits behind the point. */
void dbk_put_ms(struct dbk_buf *out, bool *first, const char *key, int64_t time_us);
void dbk_put_u64(struct dbk_buf *out, bool *first, const char *key, uint64_t value);
/* "warning_count" and "warnings", where there are any. */
void dbk_put_warnings(struct dbk_buf *out, bool *first, const struct dbk_append_warnings *warnings);
void dbk_put_bool(struct dbk_buf *out, bool *first, const char *key, bool value);
/* null for DBK_TIME_NONE. */
void dbk_put_time(struct dbk_buf *out, bool *first, const char *key, int64_t time_us);

#endif
