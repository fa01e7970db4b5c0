/* SPDX-License-Identifier: Apache-2.0 */
#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/http.h"

#define CONNECTIONS_DEFAULT 512
#define BACKLOG 511

struct dbk_server {
    struct dbk_engine *engine;
    struct dbk_access *access;
    struct dbk_http *tcp;
    struct dbk_http *local;
    const char *tls_certificate;
    const char *tls_key;
    struct dbk_tls_pair pair;
    uint16_t port;
    char *socket;
};

static int bind_failed(int code, const char *where, struct dbk_error *err)
{
    if (code == EADDRINUSE)
        return dbk_error_set(err, DBK_EBUSY, "something listens at %s already", where);
    return dbk_error_set_errno(err, code, "cannot listen at %s", where);
}

static int listen_at(const struct sockaddr *address, socklen_t size, const char *where,
                     int *socket_out, struct dbk_error *err)
{
    int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return dbk_error_set_errno(err, errno, "cannot make a socket");
    if (address->sa_family != AF_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }
    if (bind(fd, address, size) < 0 || listen(fd, BACKLOG) < 0) {
        int code = errno;
        (void)close(fd);
        return bind_failed(code, where, err);
    }
    *socket_out = fd;
    return DBK_OK;
}

static int read_pair(const struct dbk_server *server, struct dbk_tls_pair *pair_out,
                     struct dbk_error *err)
{
    struct dbk_os *os = dbk_engine_os(server->engine);
    return dbk_tls_pair_read(os, server->tls_certificate, server->tls_key, os->now_us(os), pair_out,
                             err);
}

/* What is not to be read on its way, and by whom it is not to be asked for. */
static int check_beyond(const struct dbk_server *server, const char *host, struct dbk_error *err)
{
    static const char other[] =
        "or stay on 127.0.0.1 and let ssh -L or a proxy that speaks TLS lead there";
    if (server->tls_certificate == NULL)
        return dbk_error_set(err, DBK_EDENIED,
                             "%s is reached from other machines: either give --tls-certificate and "
                             "--tls-key, %s",
                             host, other);
    if (!dbk_access_asks(server->access))
        return dbk_error_set(err, DBK_EDENIED,
                             "%s is reached from other machines, and the book asks for no keys: "
                             "either make one first with `daybook access add`, %s",
                             host, other);
    return DBK_OK;
}

static int open_tcp(struct dbk_server *server, const struct dbk_server_options *options,
                    unsigned connections, struct dbk_error *err)
{
    const char *host = options->host == NULL ? "127.0.0.1" : options->host;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(options->port)};
    char where[128];
    int fd = -1;
    bool is_v4 =
        inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &v4.sin_addr) == 1;
    bool is_v6 = !is_v4 && inet_pton(AF_INET6, host, &v6.sin6_addr) == 1;
    if (!is_v4 && !is_v6)
        return dbk_error_set(err, DBK_EINVAL,
                             "%s is no address: write one of this machine's, as 127.0.0.1, ::1 or "
                             "0.0.0.0 for all of them",
                             host);
    bool loopback = (is_v4 && ntohl(v4.sin_addr.s_addr) >> 24 == 127) ||
                    (is_v6 && IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr));
    int rc = loopback ? DBK_OK : check_beyond(server, host, err);
    if (rc == DBK_OK && server->tls_certificate != NULL)
        rc = read_pair(server, &server->pair, err);
    if (rc < 0)
        return rc;
    (void)snprintf(where, sizeof(where), "%s port %u", host, options->port);
    rc = is_v4 ? listen_at((struct sockaddr *)&v4, sizeof(v4), where, &fd, err)
               : listen_at((struct sockaddr *)&v6, sizeof(v6), where, &fd, err);
    if (rc < 0)
        return rc;
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    if (getsockname(fd, (struct sockaddr *)&bound, &size) == 0)
        server->port = ntohs(is_v4 ? ((struct sockaddr_in *)&bound)->sin_port
                                   : ((struct sockaddr_in6 *)&bound)->sin6_port);
    const struct dbk_http_options http = {.socket = fd,
                                          .local = loopback,
                                          .connection_count_max = connections,
                                          /* On loopback all come from one, a proxy's too. */
                                          .address_count_max = loopback ? 0 : (connections + 3) / 4,
                                          .pair = server->tls_certificate == NULL ? NULL
                                                                                  : &server->pair};
    return dbk_http_open(server->engine, server->access, &http, &server->tcp, err);
}

static void remove_socket(struct dbk_server *server)
{
    struct dbk_os *os = dbk_engine_os(server->engine);
    dbk_ignore(os->remove(os, server->socket, NULL));
}

/* Who holds the book's lock owns the socket's name: what is there is left of a killed server. */
static int open_local(struct dbk_server *server, const struct dbk_server_options *options,
                      unsigned connections, struct dbk_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *data = dbk_engine_book(server->engine)->data;
    char path[4200];
    int fd = -1;
    if (options->socket == NULL)
        (void)snprintf(path, sizeof(path), "%s/%s", data, DBK_SERVER_SOCKET_NAME);
    else
        (void)snprintf(path, sizeof(path), "%s", options->socket);
    server->socket = dbk_copy_text(dbk_slice_of(path));
    if (server->socket == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory starting the server");
    if (strlen(path) >= sizeof(address.sun_path))
        return dbk_error_set(err, DBK_ELIMIT,
                             "the socket's path has %zu bytes, the system takes %zu: %s",
                             strlen(path), sizeof(address.sun_path) - 1, path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    remove_socket(server);
    mode_t before = umask(0077);
    int rc = listen_at((struct sockaddr *)&address, sizeof(address), path, &fd, err);
    (void)umask(before);
    const struct dbk_http_options http = {.socket = fd, .connection_count_max = connections};
    return rc < 0 ? rc : dbk_http_open(server->engine, server->access, &http, &server->local, err);
}

int dbk_server_open(struct dbk_engine *engine, const struct dbk_server_options *options,
                    struct dbk_server **server_out, struct dbk_error *err)
{
    struct dbk_server *server = dbk_alloc_zero(1, sizeof(*server));
    unsigned connections =
        options->connection_count_max == 0 ? CONNECTIONS_DEFAULT : options->connection_count_max;
    if (server == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory starting the server");
    server->engine = engine;
    server->tls_certificate = options->tls_certificate;
    server->tls_key = options->tls_key;
    int rc =
        dbk_access_open(engine, &(struct dbk_access_options){.local = true}, &server->access, err);
    if (rc == DBK_OK && !options->tcp_off)
        rc = open_tcp(server, options, connections, err);
    if (rc == DBK_OK)
        rc = open_local(server, options, connections, err);
    if (rc < 0) {
        dbk_server_free(server);
        return rc;
    }
    *server_out = server;
    return DBK_OK;
}

void dbk_server_free(struct dbk_server *server)
{
    if (server == NULL)
        return;
    if (server->local != NULL)
        remove_socket(server);
    dbk_http_free(server->tcp);
    dbk_http_free(server->local);
    dbk_access_free(server->access);
    dbk_tls_pair_release(&server->pair);
    dbk_free(server->socket);
    dbk_free(server);
}

uint16_t dbk_server_port(const struct dbk_server *server)
{
    return server->port;
}

const char *dbk_server_socket(const struct dbk_server *server)
{
    return server->socket;
}

bool dbk_server_asks(const struct dbk_server *server)
{
    return dbk_access_asks(server->access);
}

int dbk_server_reload(struct dbk_server *server, struct dbk_error *err)
{
    struct dbk_tls_pair pair;
    if (server->tcp == NULL || server->tls_certificate == NULL)
        return 0;
    int rc = read_pair(server, &pair, err);
    if (rc < 0)
        return rc;
    bool same = dbk_tls_pair_equal(&pair, &server->pair);
    if (!same)
        rc = dbk_http_renew(server->tcp, &pair, err);
    if (same || rc < 0) {
        dbk_tls_pair_release(&pair);
        return rc;
    }
    dbk_tls_pair_release(&server->pair);
    server->pair = pair;
    return 1;
}

static void fill_signals(sigset_t *signals_out)
{
    (void)sigemptyset(signals_out);
    (void)sigaddset(signals_out, SIGTERM);
    (void)sigaddset(signals_out, SIGINT);
    (void)sigaddset(signals_out, SIGHUP);
}

void dbk_server_block_signals(void)
{
    sigset_t signals;
    fill_signals(&signals);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

int dbk_server_wait_for_signal(void)
{
    sigset_t signals;
    int number = 0;
    fill_signals(&signals);
    (void)sigwait(&signals, &number);
    return number;
}
