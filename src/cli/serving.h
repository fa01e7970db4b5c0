/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serving -- a book held open and served: what `serve` and `demo` share.
 *
 * Threads: the main thread.
 */
#ifndef DBK_CLI_SERVING_H
#define DBK_CLI_SERVING_H

#include "cli/arguments.h"
#include "cli/place.h"
#include "server/server.h"

struct dbk_serving {
    struct dbk_engine *engine;
    struct dbk_server *server;
    char url[128];
};

/*
 * Blocks the signals that end it, opens the book and listens. Faults of the book are printed.
 * arguments: --listen "127.0.0.1:4170", "localhost:0", "[::1]:4170"; and where the command has them
 * --tls-certificate and --tls-key.
 *
 * DBK_EINVAL  listen is no address and port; one of the two of TLS
 * and all of dbk_engine_open and dbk_server_open
 */
int dbk_serving_open(const struct dbk_place *place, const struct dbk_arguments *arguments,
                     const char *holder, struct dbk_serving *serving_out,
                     struct dbk_error *err) DBK_MUST_CHECK;
void dbk_serving_release(struct dbk_serving *serving);

#define DBK_SERVING_OPTIONS_SIZE (3 * DBK_PLACE_SIZE_MAX)

/*
 * What goes behind `daybook tail` in a command that is to be pasted into another terminal:
 * " --book F --data D --env E" as they were given. folder: the book's where it was found without
 * having been named, else NULL.
 */
void dbk_serving_options(const struct dbk_arguments *arguments, const char *folder,
                         char text_out[DBK_SERVING_OPTIONS_SIZE]);

#endif
