/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/link.h"

#define LOOK_MS 200
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct dbk_wire {
    int fd;
    gnutls_session_t session; /* NULL: without TLS */
    gnutls_certificate_credentials_t trusted;
    char where[DBK_URL_HOST_SIZE + 32]; /* for messages */
};

static int broken(const struct dbk_wire *wire, const char *why, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ECONNECT, "%s: %s", wire->where, why);
}

static int create(const char *where, struct dbk_wire **wire_out, struct dbk_error *err)
{
    struct dbk_wire *wire = dbk_alloc_zero(1, sizeof(*wire));
    if (wire == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    wire->fd = -1;
    (void)snprintf(wire->where, sizeof(wire->where), "%s", where);
    *wire_out = wire;
    return DBK_OK;
}

void dbk_wire_free(struct dbk_wire *wire)
{
    if (wire == NULL)
        return;
    if (wire->session != NULL)
        gnutls_deinit(wire->session);
    if (wire->trusted != NULL)
        gnutls_certificate_free_credentials(wire->trusted);
    if (wire->fd >= 0)
        (void)close(wire->fd);
    dbk_free(wire);
}

int dbk_wire_open_socket(const char *path, struct dbk_wire **wire_out, struct dbk_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct dbk_wire *wire = NULL;
    if (strlen(path) >= sizeof(address.sun_path)) /* no server can listen there */
        return dbk_error_set(err, DBK_ENOTFOUND, "%s: the name is too long", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int rc = create(path, &wire, err);
    if (rc < 0)
        return rc;
    wire->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (wire->fd < 0) {
        rc = dbk_error_set(err, DBK_ECONNECT, "socket: %s", strerror(errno));
    } else if (connect(wire->fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        int code = errno;
        bool nobody = code == ENOENT || code == ENOTDIR || code == ECONNREFUSED;
        rc = dbk_error_set(err, nobody ? DBK_ENOTFOUND : DBK_ECONNECT, "%s: cannot connect: %s",
                           path, strerror(code));
    }
    if (rc < 0) {
        dbk_wire_free(wire);
        return rc;
    }
    *wire_out = wire;
    return DBK_OK;
}

/* ---- Over TCP ---- */

static int connect_any(struct dbk_wire *wire, const struct dbk_url *url, struct dbk_error *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char port[8];
    int code = 0;
    int on = 1;
    (void)snprintf(port, sizeof(port), "%u", url->port);
    int failed = getaddrinfo(url->host, port, &hints, &list);
    if (failed != 0)
        return broken(wire, gai_strerror(failed), err);
    for (struct addrinfo *at = list; at != NULL && wire->fd < 0; at = at->ai_next) {
        int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, at->ai_protocol);
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0) {
            wire->fd = fd;
            (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            break;
        }
        code = errno;
        if (fd >= 0)
            (void)close(fd);
    }
    freeaddrinfo(list);
    return wire->fd >= 0 ? DBK_OK : broken(wire, strerror(code), err);
}

static int trust(struct dbk_wire *wire, const char *ca, struct dbk_error *err)
{
    if (gnutls_certificate_allocate_credentials(&wire->trusted) < 0)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int count =
        ca == NULL ? gnutls_certificate_set_x509_system_trust(wire->trusted)
                   : gnutls_certificate_set_x509_trust_file(wire->trusted, ca, GNUTLS_X509_FMT_PEM);
    if (count > 0)
        return DBK_OK;
    if (ca == NULL)
        return broken(wire, "this machine knows no CA: name one with --ca FILE", err);
    return dbk_error_set(err, DBK_EINVAL, "%s has no certificates in PEM: %s", ca,
                         count < 0 ? gnutls_strerror(count) : "it is empty");
}

static int not_trusted(const struct dbk_wire *wire, struct dbk_error *err)
{
    gnutls_datum_t text = {0};
    int rc = gnutls_certificate_verification_status_print(
        gnutls_session_get_verify_cert_status(wire->session), GNUTLS_CRT_X509, &text, 0);
    rc = broken(wire, rc == 0 ? (const char *)text.data : "its certificate is not good", err);
    gnutls_free(text.data);
    return rc;
}

static bool is_address(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static int shake_hands(struct dbk_wire *wire, const struct dbk_url *url, struct dbk_error *err)
{
    int rc = gnutls_init(&wire->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
    if (rc == 0)
        rc = gnutls_priority_set_direct(wire->session, PRIORITIES, NULL);
    if (rc == 0)
        rc = gnutls_credentials_set(wire->session, GNUTLS_CRD_CERTIFICATE, wire->trusted);
    if (rc == 0 && !is_address(url->host))
        rc = gnutls_server_name_set(wire->session, GNUTLS_NAME_DNS, url->host, strlen(url->host));
    if (rc < 0)
        return broken(wire, gnutls_strerror(rc), err);
    gnutls_session_set_verify_cert(wire->session, url->host, 0);
    gnutls_transport_set_int(wire->session, wire->fd);
    do
        rc = gnutls_handshake(wire->session);
    while (rc < 0 && gnutls_error_is_fatal(rc) == 0 && !dbk_link_stopped());
    if (rc == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
        return not_trusted(wire, err);
    return rc < 0 ? broken(wire, gnutls_strerror(rc), err) : DBK_OK;
}

int dbk_wire_open_url(const struct dbk_url *url, const char *ca, struct dbk_wire **wire_out,
                      struct dbk_error *err)
{
    struct dbk_wire *wire = NULL;
    char where[sizeof(wire->where)];
    (void)snprintf(where, sizeof(where), "http%s://%s", url->tls ? "s" : "", url->authority);
    int rc = create(where, &wire, err);
    if (rc == DBK_OK && url->tls)
        rc = trust(wire, ca, err);
    if (rc == DBK_OK)
        rc = connect_any(wire, url, err);
    if (rc == DBK_OK && url->tls)
        rc = shake_hands(wire, url, err);
    if (rc < 0) {
        dbk_wire_free(wire);
        return rc;
    }
    *wire_out = wire;
    return DBK_OK;
}

/* ---- Bytes ---- */

int dbk_wire_send(struct dbk_wire *wire, struct dbk_slice bytes, struct dbk_error *err)
{
    while (bytes.size > 0) {
        ssize_t size = wire->session != NULL
                           ? gnutls_record_send(wire->session, bytes.data, bytes.size)
                           : send(wire->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        bool again = wire->session != NULL ? size < 0 && gnutls_error_is_fatal((int)size) == 0
                                           : size < 0 && errno == EINTR;
        if (again && !dbk_link_stopped())
            continue;
        if (size < 0)
            return broken(
                wire, wire->session != NULL ? gnutls_strerror((int)size) : strerror(errno), err);
        bytes = dbk_slice(bytes.data + size, bytes.size - (size_t)size);
    }
    return DBK_OK;
}

static bool has_bytes(const struct dbk_wire *wire)
{
    struct pollfd wait = {.fd = wire->fd, .events = POLLIN};
    return (wire->session != NULL && gnutls_record_check_pending(wire->session) > 0) ||
           poll(&wait, 1, LOOK_MS) > 0;
}

int dbk_wire_receive(struct dbk_wire *wire, char *buffer, size_t size, size_t *size_out,
                     struct dbk_error *err)
{
    for (;;) {
        bool ready = has_bytes(wire);
        if (dbk_link_stopped())
            return DBK_ESTOPPED;
        if (!ready)
            continue;
        ssize_t got = wire->session != NULL ? gnutls_record_recv(wire->session, buffer, size)
                                            : recv(wire->fd, buffer, size, 0);
        bool again = wire->session != NULL ? got < 0 && gnutls_error_is_fatal((int)got) == 0
                                           : got < 0 && errno == EINTR;
        if (again)
            continue;
        if (got < 0)
            return broken(wire, wire->session != NULL ? gnutls_strerror((int)got) : strerror(errno),
                          err);
        *size_out = (size_t)got;
        return got > 0;
    }
}
