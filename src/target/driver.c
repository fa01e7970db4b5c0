/* SPDX-License-Identifier: Apache-2.0 */
/* Which driver an address wants; modules are loaded once and stay. */
#include "target/driver.h"

#include <dlfcn.h>
#include <pthread.h>

#include "target/sqlite.h"

struct kind {
    const char *prefix;
    const char *file;
    void *module; /* NULL: not loaded */
    const struct dbk_driver *driver;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kind kinds[] = {{"postgres:", "daybook-postgres.so", NULL, NULL},
                              {"neo4j:", "daybook-neo4j.so", NULL, NULL},
                              {"mongodb:", "daybook-mongodb.so", NULL, NULL}};

/* The loader looks where the program's own run path says: beside it, and in <libdir>/daybook. */
static int load(struct kind *kind, struct dbk_error *err)
{
    void *module = dlopen(kind->file, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "%.*s databases need the module %s: %s",
                             (int)strlen(kind->prefix) - 1, kind->prefix, kind->file, dlerror());
    const struct dbk_driver *driver = dlsym(module, DBK_DRIVER_SYMBOL);
    if (driver == NULL || driver->version != DBK_DRIVER_VERSION)
        return dbk_error_set(err, DBK_EFORMAT,
                             "%s is not of this version of Daybook: install both together",
                             kind->file);
    kind->module = module;
    kind->driver = driver;
    return DBK_OK;
}

int dbk_driver_of(const char *address, const struct dbk_driver **driver_out, const char **rest_out,
                  struct dbk_error *err)
{
    *driver_out = &dbk_driver_sqlite;
    *rest_out = address;
    for (size_t i = 0; address != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct kind *kind = &kinds[i];
        if (strncmp(address, kind->prefix, strlen(kind->prefix)) != 0)
            continue;
        (void)pthread_mutex_lock(&lock);
        int rc = kind->driver == NULL ? load(kind, err) : DBK_OK;
        *driver_out = kind->driver;
        (void)pthread_mutex_unlock(&lock);
        *rest_out = address + strlen(kind->prefix);
        return rc;
    }
    return DBK_OK;
}

int dbk_target_symbol(const char *address, const char *name, const void **symbol_out,
                      struct dbk_error *err)
{
    const struct dbk_driver *driver = NULL;
    const char *rest = NULL;
    int rc = dbk_driver_of(address, &driver, &rest, err);
    *symbol_out = NULL;
    for (size_t i = 0; rc == DBK_OK && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (kinds[i].driver == driver)
            *symbol_out = dlsym(kinds[i].module, name);
    }
    return rc;
}
