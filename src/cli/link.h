/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link -- where requests go: the book's server, or the engine in this process.
 *
 * --url names a server. Without it, if something answers on <data>/daybook.sock it is the server
 * that holds the book. Either gets the requests as HTTP/1.1. Otherwise the book is opened here and
 * dbk_api_handle answers them.
 *
 * Threads: a link belongs to one thread. dbk_link_stop from a signal handler.
 */
#ifndef DBK_CLI_LINK_H
#define DBK_CLI_LINK_H

#include "cli/call.h"
#include "cli/http_reply.h"
#include "cli/place.h"

struct dbk_link;

/*
 * Opens the book that the arguments name. mode: how, when it is opened here. Faults of the book are
 * printed on standard error.
 *
 * DBK_ECONNECT  there is a socket or a URL, but no connection to it
 * DBK_EDENIED   the key would go to another machine without TLS
 * DBK_EINVAL    --url is none, or does not go with --book; --key-file holds no key
 * and all of dbk_place_find and dbk_engine_open
 */
int dbk_link_open(const struct dbk_arguments *arguments, enum dbk_engine_mode mode,
                  struct dbk_link **link_out, struct dbk_error *err) DBK_MUST_CHECK;
/* An engine in this process, for the book at a place; faults of the book are printed. */
int dbk_link_open_engine(const struct dbk_place *place, enum dbk_engine_mode mode,
                         const char *holder, struct dbk_engine **engine_out,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* The same, always in this process: beside the server where one holds the book, which is for a mode
   that reads then. */
int dbk_link_open_beside(const struct dbk_arguments *arguments, enum dbk_engine_mode mode,
                         struct dbk_link **link_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_link_free(struct dbk_link *link);
/*
 * Requests come with this key from now on (empty: with none), also where the book is opened here,
 * which then asks for one as a server does. What refuses is the same code.
 */
int dbk_link_as(struct dbk_link *link, struct dbk_slice key, struct dbk_error *err) DBK_MUST_CHECK;
/* Shows how far work is that comes before an answer; kept until the link is freed. */
struct dbk_progress;
void dbk_link_show(struct dbk_link *link, struct dbk_progress *progress);
/* The engine of this process, NULL when a server holds the book. */
struct dbk_engine *dbk_link_engine(struct dbk_link *link);

struct dbk_answer {
    int status;
    uint64_t position;   /* Daybook-Position; 0: none */
    struct dbk_buf body; /* of answers that were not handed on */
};

void dbk_answer_init(struct dbk_answer *answer);
void dbk_answer_release(struct dbk_answer *answer);

/*
 * Sends a request and waits for its answer. each (may be NULL) gets the body of a good answer piece
 * by piece; a negative result of it ends the request with it.
 *
 * A problem document becomes its code, and its detail the message. DBK_ECONNECT: the connection
 * broke before an answer.
 */
int dbk_link_send(struct dbk_link *link, struct dbk_call *call, dbk_http_body_fn each,
                  void *context, struct dbk_answer *answer, struct dbk_error *err) DBK_MUST_CHECK;

/* A problem document (RFC 9457) as an error: its code. */
int dbk_link_problem(const struct dbk_json_node *root, int status,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* Ends live answers soon; async-signal-safe. */
void dbk_link_stop(void);
bool dbk_link_stopped(void);
/* SIGINT and SIGTERM call dbk_link_stop from now on. */
void dbk_link_stop_on_signals(void);

#endif
