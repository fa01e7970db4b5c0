/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server -- the book over HTTP, on loopback TCP and on its Unix socket.
 *
 * Requests go to dbk_api_handle, one thread a connection, because an append waits for its sync.
 * Answers that may be long or live (dbk_api_streams) are made in a thread of their own and pass
 * through a bounded ring, so that memory does not grow with them; when the client vanishes the ring
 * breaks, and the thread ends with its next write.
 *
 * On loopback only requests whose Host (and Origin, where a browser sends one) is this machine's
 * loopback are answered over TCP, so that no web page can talk to the book through a browser.
 * Beyond it nothing listens without TLS, and nothing is answered without an API key, which a page
 * has not.
 *
 * Nothing is printed here. `serve` blocks its signals with dbk_server_block_signals before it opens
 * the engine, so that every thread inherits it, and then waits with dbk_server_wait_for_signal.
 *
 * Threads: one thread opens, waits and frees.
 * Source:  RFC 9110, RFC 9112; libmicrohttpd's manual.
 */
#ifndef DBK_SERVER_SERVER_H
#define DBK_SERVER_SERVER_H

#include "engine/engine.h"

#define DBK_SERVER_SOCKET_NAME "daybook.sock"
#define DBK_SERVER_PORT_DEFAULT 4150

struct dbk_server;

struct dbk_server_options {
    const char *host;            /* NULL: 127.0.0.1; "localhost" or an address */
    uint16_t port;               /* 0: any free one */
    const char *socket;          /* path of the Unix socket; NULL: <data>/daybook.sock */
    bool tcp_off;                /* Unix socket only */
    const char *tls_certificate; /* files in PEM, for TCP; NULL: without TLS. Kept until free */
    const char *tls_key;
    unsigned connection_count_max; /* 0: 512 over TCP and as many over the socket */
};

/*
 * Listens and answers from now on. engine is kept until free.
 *
 * DBK_EDENIED  the host is no loopback address, and there is no TLS, or the book asks for no keys;
 *              or the port is not ours to take
 * DBK_EBUSY    something listens there already
 * DBK_ELIMIT   the socket's path is too long for the system
 * DBK_EINVAL   the host is no address; and all of dbk_tls_pair_read
 * DBK_EIO, DBK_ENOMEM
 */
int dbk_server_open(struct dbk_engine *engine, const struct dbk_server_options *options,
                    struct dbk_server **server_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Takes no more connections, ends tails, lets requests under way finish (at most ten seconds). NULL
   is fine. */
void dbk_server_free(struct dbk_server *server);

/* Where it listens: the TCP port (0: none) and the Unix socket's path; valid until free. */
uint16_t dbk_server_port(const struct dbk_server *server);
const char *dbk_server_socket(const struct dbk_server *server);
/* True when requests need an API key. */
bool dbk_server_asks(const struct dbk_server *server);

/*
 * Reads certificate and key again: connections from now on are taken with them, those that are open
 * go on. Returns 1; 0: the files are what they were. On failure all stays as it was.
 */
int dbk_server_reload(struct dbk_server *server, struct dbk_error *err) DBK_MUST_CHECK;

/* Blocks SIGTERM, SIGINT and SIGHUP in this thread and those it starts; ignores SIGPIPE. */
void dbk_server_block_signals(void);
/* Returns the one that came. */
int dbk_server_wait_for_signal(void);

#endif
