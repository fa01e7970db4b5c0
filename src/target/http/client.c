/* SPDX-License-Identifier: Apache-2.0 */
/* The module daybook-http.so: requests by libcurl. A session keeps its connections. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "target/http.h"

struct session {
    CURL *curl;
    char *reply;
    size_t reply_max;
    size_t reply_size;
};

__attribute__((visibility("default"))) extern const struct dbk_http_client dbk_http;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;

static void begin(void)
{
    ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

static void *create(void)
{
    (void)pthread_once(&once, begin);
    struct session *session = ready ? dbk_alloc_zero(1, sizeof(*session)) : NULL;
    if (session != NULL)
        session->curl = curl_easy_init();
    if (session == NULL || session->curl == NULL) {
        dbk_free(session);
        return NULL;
    }
    return session;
}

static void end(void *context)
{
    struct session *session = context;
    curl_easy_cleanup(session->curl);
    dbk_free(session);
}

/* What does not fit is read and left. */
static size_t keep(char *bytes, size_t size, size_t count, void *context)
{
    struct session *session = context;
    size_t given = size * count;
    size_t room = session->reply_max - session->reply_size;
    size_t kept = given < room ? given : room;
    if (kept > 0)
        memcpy(session->reply + session->reply_size, bytes, kept);
    session->reply_size += kept;
    return given;
}

/* libcurl asks once a second, also where nothing comes. */
static int look(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                curl_off_t up)
{
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return *(const _Atomic bool *)context ? 1 : 0;
}

static bool add(struct curl_slist **headers, const char *header)
{
    struct curl_slist *more = curl_slist_append(*headers, header);
    if (more != NULL)
        *headers = more;
    return more != NULL;
}

/* A key is sent as a string of structured fields: quotes and backslashes are escaped, and what is
   not ASCII is written as %XX. */
static void put_key(struct dbk_buf *out, const char *key)
{
    dbk_buf_append_text(out, "Idempotency-Key: \"");
    for (const char *at = key; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '"' || byte == '\\')
            dbk_buf_append_char(out, '\\');
        if (byte < 0x20 || byte > 0x7e || byte == '%')
            dbk_buf_append_format(out, "%%%02X", byte);
        else
            dbk_buf_append_char(out, *at);
    }
    dbk_buf_append_char(out, '"');
    dbk_buf_append_char(out, '\0');
}

static int perform(struct session *session, const struct dbk_http_request *request,
                   const struct dbk_buf *url, struct curl_slist *headers, unsigned *status_out,
                   struct dbk_error *err)
{
    char why[CURL_ERROR_SIZE] = "";
    char method[16];
    long status = 0;
    CURL *curl = session->curl;
    (void)snprintf(method, sizeof(method), "%.*s", DBK_SLICE_ARGS(request->method));
    curl_easy_reset(curl);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url->data);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(request->timeout_us / 1000 + 1));
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, session);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)request->ends);
    if (strcmp(method, "GET") != 0) {
        (void)curl_easy_setopt(curl, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                               request->body.size == 0 ? "" : request->body.data);
        (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    }
    CURLcode code = curl_easy_perform(curl);
    /* libcurl's own words may name the host, or the whole address. */
    const char *name = request->url_is_secret ? "the address" : request->url;
    bool plain = request->url_is_secret || why[0] == '\0';
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return dbk_error_set(err, DBK_ESTOPPED, "%s: the request was ended", name);
    if (code != CURLE_OK)
        return dbk_error_set(err, code == CURLE_OPERATION_TIMEDOUT ? DBK_ETIMEOUT : DBK_ECONNECT,
                             "%s: %s", name, plain ? curl_easy_strerror(code) : why);
    (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *status_out = (unsigned)status;
    return DBK_OK;
}

static int request(void *context, const struct dbk_http_request *wish, unsigned *status_out,
                   char *reply, size_t reply_max, size_t *reply_size_out, struct dbk_error *err)
{
    struct session *session = context;
    struct curl_slist *headers = NULL;
    struct dbk_buf url;
    struct dbk_buf key;
    session->reply = reply;
    session->reply_max = reply_max;
    session->reply_size = 0;
    dbk_buf_init(&url, (size_t)1 << 20);
    dbk_buf_init(&key, (size_t)1 << 20);
    dbk_buf_append_text(&url, wish->url);
    dbk_buf_append(&url, wish->path);
    dbk_buf_append_char(&url, '\0');
    put_key(&key, wish->key);
    bool good =
        url.rc == DBK_OK && key.rc == DBK_OK && add(&headers, key.data) &&
        add(&headers, "Accept: application/json") && add(&headers, "Expect:") &&
        add(&headers, wish->body.size > 0 ? "Content-Type: application/json" : "Content-Type:");
    for (size_t i = 0; good && i < wish->header_count; i++)
        good = add(&headers, wish->headers[i]);
    int rc = good ? perform(session, wish, &url, headers, status_out, err)
                  : dbk_error_set(err, DBK_ENOMEM, "out of memory making a request");
    *reply_size_out = session->reply_size;
    curl_slist_free_all(headers);
    dbk_buf_release(&url);
    dbk_buf_release(&key);
    return rc;
}

const struct dbk_http_client dbk_http = {
    .version = DBK_HTTP_VERSION, .create = create, .end = end, .request = request};
