/* SPDX-License-Identifier: Apache-2.0 */
#include "target/http.h"

#include <dlfcn.h>
#include <pthread.h>

#define MODULE "daybook-http.so"

struct dbk_http_session {
    const struct dbk_http_client *client;
    void *session;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct dbk_http_client *loaded;

/* Once a process, and it stays. */
static int load(const struct dbk_http_client **client_out, struct dbk_error *err)
{
    int rc = DBK_OK;
    (void)pthread_mutex_lock(&lock);
    if (loaded == NULL) {
        void *module = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
        const struct dbk_http_client *client =
            module == NULL ? NULL : dlsym(module, DBK_HTTP_SYMBOL);
        if (module == NULL)
            rc = dbk_error_set(err, DBK_ENOTFOUND, "a request by HTTP needs the module %s: %s",
                               MODULE, dlerror());
        else if (client == NULL || client->version != DBK_HTTP_VERSION)
            rc = dbk_error_set(err, DBK_EFORMAT,
                               "%s is not of this version of Daybook: install both together",
                               MODULE);
        else
            loaded = client;
    }
    *client_out = loaded;
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

struct dbk_http_session *dbk_http_session_create(void)
{
    return dbk_alloc_zero(1, sizeof(struct dbk_http_session));
}

void dbk_http_session_free(struct dbk_http_session *http)
{
    if (http != NULL && http->session != NULL)
        http->client->end(http->session);
    dbk_free(http);
}

int dbk_http_session_do(struct dbk_http_session *http, const struct dbk_http_request *request,
                        unsigned *status_out, struct dbk_buf *reply, struct dbk_error *err)
{
    size_t size = 0;
    int rc = http->client == NULL ? load(&http->client, err) : DBK_OK;
    if (rc == DBK_OK && http->session == NULL)
        http->session = http->client->create();
    if (rc == DBK_OK && http->session == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory making a request");
    if (rc == DBK_OK && dbk_buf_reserve(reply, reply->size_max - reply->size) < 0)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory making a request");
    if (rc == DBK_OK)
        rc = http->client->request(http->session, request, status_out, reply->data + reply->size,
                                   reply->size_max - reply->size, &size, err);
    if (rc == DBK_OK)
        reply->size += size;
    return rc;
}
