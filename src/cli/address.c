/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/slice.h"

bool dbk_address_parse(const char *text, char *host_out, size_t size, uint16_t *port_out)
{
    const char *colon = strrchr(text, ':');
    const char *digits = colon != NULL ? colon + 1 : text;
    struct dbk_slice name = dbk_slice(text, colon != NULL ? (size_t)(colon - text) : 0);
    uint64_t port = 0;
    if (!dbk_slice_to_u64(dbk_slice_of(digits), &port) || port > UINT16_MAX)
        return false;
    if (name.size >= 2 && name.data[0] == '[' && name.data[name.size - 1] == ']')
        name = dbk_slice(name.data + 1, name.size - 2);
    else if (memchr(text, ':', name.size) != NULL)
        return false;
    if (name.size == 0)
        name = DBK_SLICE_LITERAL("127.0.0.1");
    if (name.size >= size)
        return false;
    (void)snprintf(host_out, size, "%.*s", DBK_SLICE_ARGS(name));
    *port_out = (uint16_t)port;
    return true;
}

static bool is_host_byte(char c, bool colons)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_' || (colons && c == ':');
}

/* host[:port], the host of colons in brackets. */
static bool take_authority(struct dbk_slice text, struct dbk_url *url)
{
    bool brackets = text.size > 0 && text.data[0] == '[';
    const char *end = brackets ? memchr(text.data, ']', text.size) : NULL;
    struct dbk_slice rest = text;
    uint64_t port = url->tls ? 443 : 80;
    size_t size = 0;
    if (brackets && end == NULL)
        return false;
    if (brackets)
        rest = dbk_slice(text.data + 1, text.size - 1);
    while (size < rest.size && is_host_byte(rest.data[size], brackets))
        size++;
    if (size == 0 || size >= sizeof(url->host) || (brackets && rest.data + size != end))
        return false;
    (void)snprintf(url->host, sizeof(url->host), "%.*s", (int)size, rest.data);
    size += brackets ? 1 : 0;
    if (size < rest.size &&
        (rest.data[size] != ':' ||
         !dbk_slice_to_u64(dbk_slice(rest.data + size + 1, rest.size - size - 1), &port) ||
         port == 0 || port > UINT16_MAX))
        return false;
    url->port = (uint16_t)port;
    (void)snprintf(url->authority, sizeof(url->authority), "%.*s", DBK_SLICE_ARGS(text));
    return true;
}

int dbk_url_parse(const char *text, struct dbk_url *url_out, struct dbk_error *err)
{
    static const char *const schemes[] = {"http://", "https://"};
    struct dbk_slice whole = dbk_slice_of(text);
    for (size_t i = 0; i < 2; i++) {
        struct dbk_slice scheme = dbk_slice_of(schemes[i]);
        struct dbk_url url = {.tls = i == 1};
        if (!dbk_slice_starts_with(whole, scheme))
            continue;
        struct dbk_slice rest = dbk_slice(whole.data + scheme.size, whole.size - scheme.size);
        if (rest.size > 0 && rest.data[rest.size - 1] == '/')
            rest.size--;
        if (rest.size < sizeof(url.authority) && take_authority(rest, &url)) {
            *url_out = url;
            return DBK_OK;
        }
    }
    return dbk_error_set(err, DBK_EINVAL,
                         "\"%.*s\" is no server's URL: write https://HOST:PORT, and nothing behind",
                         (int)(whole.size < 80 ? whole.size : 80), text);
}

bool dbk_url_is_loopback(const struct dbk_url *url)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, url->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, url->host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcasecmp(url->host, "localhost") == 0;
}
