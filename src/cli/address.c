/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/address.h"

#include <stdio.h>
#include <string.h>

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
