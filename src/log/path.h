/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path -- names of the log's files.
 *
 * Threads: pure functions.
 */
#ifndef DBK_LOG_PATH_H
#define DBK_LOG_PATH_H

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

/* "folder/name", owned by the caller, who ends it with dbk_free; NULL when out of memory. */
static inline char *dbk_path_join(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = dbk_alloc(size);
    if (path != NULL)
        (void)snprintf(path, size, "%s/%s", folder, name);
    return path;
}

#endif
