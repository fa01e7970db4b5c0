/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url_fuzz -- what is taken as a server's URL is put together again from its parts, and nothing of
 * it can end a header's line.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/address.h"

#define TEXT_SIZE 600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_SIZE] = "";
    char again[TEXT_SIZE];
    struct dbk_url url;
    struct dbk_error err = {0};
    if (size >= sizeof(text))
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    int rc = dbk_url_parse(text, &url, &err);
    if (rc < 0) {
        if (rc != DBK_EINVAL || err.message[0] == '\0')
            abort();
        return 0;
    }
    if (strpbrk(url.authority, "\r\n/@ ") != NULL || url.host[0] == '\0' || url.port == 0)
        abort();
    (void)snprintf(again, sizeof(again), "%s://%s%s", url.tls ? "https" : "http", url.authority,
                   text[strlen(text) - 1] == '/' ? "/" : "");
    if (strcmp(again, text) != 0 || strstr(url.authority, url.host) == NULL)
        abort();
    (void)dbk_url_is_loopback(&url);
    return 0;
}
