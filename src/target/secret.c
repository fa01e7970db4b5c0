/* SPDX-License-Identifier: Apache-2.0 */
#include "target/secret.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "os/os.h"

int dbk_secret_read(const char *address, const char *what, struct dbk_buf *secret,
                    struct dbk_error *err)
{
    struct dbk_error failure = {0};
    if (strncmp(address, "env:", 4) == 0) {
        const char *value = getenv(address + 4);
        if (value == NULL)
            return dbk_error_set(err, DBK_ECONNECT,
                                 "the environment has no %.80s, where %s is expected", address + 4,
                                 what);
        dbk_buf_append_text(secret, value);
    } else {
        dbk_assert(strncmp(address, "file:", 5) == 0);
        int rc = dbk_os_read_file(dbk_os_real(), address + 5, DBK_SECRET_TEXT_SIZE_MAX, secret,
                                  &failure);
        if (rc < 0)
            return dbk_error_set(err, DBK_ECONNECT, "%s cannot be read: %s", what, failure.message);
    }
    while (secret->size > 0 &&
           (secret->data[secret->size - 1] == '\n' || secret->data[secret->size - 1] == '\r'))
        secret->size--;
    dbk_buf_append_char(secret, 0);
    if (secret->rc < 0)
        return dbk_error_set(err, secret->rc, "%s: %s", what, dbk_code_text(secret->rc));
    if (secret->size == 1)
        return dbk_error_set(err, DBK_ECONNECT, "%s is empty", what);
    return DBK_OK;
}
