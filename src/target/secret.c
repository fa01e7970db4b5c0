/* SPDX-License-Identifier: Apache-2.0 */
#include "target/secret.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "os/os.h"

int dbk_secret_read(const char *address, struct dbk_buf *secret, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    if (strncmp(address, "env:", 4) == 0) {
        const char *value = getenv(address + 4);
        if (value == NULL)
            return dbk_error_set(err, DBK_ECONNECT,
                                 "the environment has no %s, where a connection string is expected",
                                 address + 4);
        dbk_buf_append_text(secret, value);
    } else {
        dbk_assert(strncmp(address, "file:", 5) == 0);
        int rc = dbk_os_read_file(dbk_os_real(), address + 5, DBK_SECRET_TEXT_SIZE_MAX, secret,
                                  &failure);
        if (rc < 0)
            return dbk_error_set(err, DBK_ECONNECT, "the connection string cannot be read: %s",
                                 failure.message);
    }
    while (secret->size > 0 &&
           (secret->data[secret->size - 1] == '\n' || secret->data[secret->size - 1] == '\r'))
        secret->size--;
    dbk_buf_append_char(secret, 0);
    if (secret->rc < 0)
        return dbk_error_set(err, secret->rc, "out of memory connecting");
    if (secret->size == 1)
        return dbk_error_set(err, DBK_ECONNECT, "the connection string is empty");
    return DBK_OK;
}
