/* SPDX-License-Identifier: Apache-2.0 */
#include "target/neo4j/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 5000L
#define POLL_MS 1000
#define URL_SIZE_MAX ((size_t)4096)

struct dbk_neo4j_http {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    char *greeting; /* URLs */
    char *commit;
    struct dbk_buf *answer; /* of the request that runs */
    char message[CURL_ERROR_SIZE];
    atomic_bool interrupted;
};

static void start_library(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t take(char *data, size_t size, size_t count, void *context)
{
    struct dbk_neo4j_http *http = context;
    dbk_buf_append(http->answer, dbk_slice(data, size * count));
    return http->answer->rc < 0 ? 0 : size * count;
}

/* ---- The address ---- */

static int wrong_address(struct dbk_error *err, const char *what)
{
    return dbk_error_set(err, DBK_EINVAL,
                         "the connection string is no http://user:password@host:7474/database: %s",
                         what);
}

/* "/neo4j" -> "neo4j" */
static bool is_database(const char *path)
{
    size_t size = strlen(path);
    return size > 1 && path[0] == '/' &&
           strspn(path + 1, "abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                            "0123456789.-_") == size - 1;
}

static int make_urls(struct dbk_neo4j_http *http, CURLU *url, struct dbk_error *err)
{
    char *path = NULL;
    char *origin = NULL;
    struct dbk_buf text;
    dbk_buf_init(&text, URL_SIZE_MAX);
    int rc = DBK_OK;
    if (curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK || !is_database(path)) {
        rc = wrong_address(err, "a database's name is expected behind the host");
        goto out;
    }
    if (curl_url_set(url, CURLUPART_PATH, "/", 0) != CURLUE_OK ||
        curl_url_set(url, CURLUPART_USER, NULL, 0) != CURLUE_OK ||
        curl_url_set(url, CURLUPART_PASSWORD, NULL, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_URL, &origin, 0) != CURLUE_OK) {
        rc = wrong_address(err, "the host is not readable");
        goto out;
    }
    http->greeting = dbk_copy_text(dbk_slice_of(origin));
    dbk_buf_append_format(&text, "%sdb/%s/tx/commit", origin, path + 1);
    if (text.rc == DBK_OK)
        http->commit = dbk_copy_text(dbk_buf_slice(&text));
    if (http->greeting == NULL || http->commit == NULL)
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
out:
    curl_free(path);
    curl_free(origin);
    dbk_buf_release(&text);
    return rc;
}

static int set_login(struct dbk_neo4j_http *http, CURLU *url, struct dbk_error *err)
{
    char *user = NULL;
    char *password = NULL;
    CURLcode rc = CURLE_OK;
    (void)curl_url_get(url, CURLUPART_USER, &user, CURLU_URLDECODE);
    (void)curl_url_get(url, CURLUPART_PASSWORD, &password, CURLU_URLDECODE);
    if (user != NULL) {
        rc = curl_easy_setopt(http->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        if (rc == CURLE_OK)
            rc = curl_easy_setopt(http->easy, CURLOPT_USERNAME, user);
        if (rc == CURLE_OK)
            rc = curl_easy_setopt(http->easy, CURLOPT_PASSWORD, password == NULL ? "" : password);
    }
    if (password != NULL)
        explicit_bzero(password, strlen(password));
    curl_free(user);
    curl_free(password);
    return rc == CURLE_OK ? DBK_OK : dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
}

static int read_address(struct dbk_neo4j_http *http, const char *secret, struct dbk_error *err)
{
    CURLU *url = curl_url();
    char *scheme = NULL;
    char *port = NULL;
    if (url == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    int rc = DBK_OK;
    if (curl_url_set(url, CURLUPART_URL, secret, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK)
        rc = wrong_address(err, "it cannot be read as one");
    else if (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
        rc = wrong_address(err, "it begins with neither http:// nor https://");
    else if (curl_url_get(url, CURLUPART_PORT, &port, 0) != CURLUE_OK)
        (void)curl_url_set(url, CURLUPART_PORT, strcmp(scheme, "http") == 0 ? "7474" : "7473", 0);
    if (rc == DBK_OK)
        rc = set_login(http, url, err);
    if (rc == DBK_OK)
        rc = make_urls(http, url, err);
    curl_free(scheme);
    curl_free(port);
    curl_url_cleanup(url);
    return rc;
}

/* ---- The session ---- */

static bool add_header(struct dbk_neo4j_http *http, const char *line)
{
    struct curl_slist *longer = curl_slist_append(http->headers, line);
    if (longer != NULL)
        http->headers = longer;
    return longer != NULL;
}

/* Certificates are checked, proxies of the environment are passed by, nothing is followed. */
static int set_options(struct dbk_neo4j_http *http, bool read_only, struct dbk_error *err)
{
    CURL *easy = http->easy;
    bool done = add_header(http, "Content-Type: application/json") &&
                add_header(http, "Accept: application/json;charset=UTF-8") &&
                add_header(http, "Expect:") &&
                (!read_only || add_header(http, "Access-Mode: READ"));
    if (!done || curl_easy_setopt(easy, CURLOPT_HTTPHEADER, http->headers) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, http) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->message) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PROXY, "") != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "daybook") != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS) != CURLE_OK)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    return DBK_OK;
}

int dbk_neo4j_http_open(const char *secret, bool read_only, struct dbk_neo4j_http **http_out,
                        struct dbk_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, start_library);
    struct dbk_neo4j_http *http = dbk_alloc_zero(1, sizeof(*http));
    if (http == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory connecting");
    http->multi = curl_multi_init();
    http->easy = curl_easy_init();
    int rc = http->multi == NULL || http->easy == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory connecting")
                 : set_options(http, read_only, err);
    if (rc == DBK_OK)
        rc = read_address(http, secret, err);
    if (rc < 0) {
        dbk_neo4j_http_free(http);
        return rc;
    }
    *http_out = http;
    return DBK_OK;
}

void dbk_neo4j_http_free(struct dbk_neo4j_http *http)
{
    if (http == NULL)
        return;
    curl_easy_cleanup(http->easy);
    (void)curl_multi_cleanup(http->multi);
    curl_slist_free_all(http->headers);
    dbk_free(http->greeting);
    dbk_free(http->commit);
    dbk_free(http);
}

void dbk_neo4j_http_interrupt(struct dbk_neo4j_http *http)
{
    atomic_store(&http->interrupted, true);
    (void)curl_multi_wakeup(http->multi);
}

/* ---- A request ---- */

/* Its own end, or CURLE_ABORTED_BY_CALLBACK when it was interrupted. */
static CURLcode perform(struct dbk_neo4j_http *http)
{
    int running = 1;
    int left = 0;
    while (running > 0) {
        if (curl_multi_perform(http->multi, &running) != CURLM_OK)
            return CURLE_OUT_OF_MEMORY;
        if (atomic_exchange(&http->interrupted, false))
            return CURLE_ABORTED_BY_CALLBACK;
        if (running > 0 && curl_multi_poll(http->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            return CURLE_OUT_OF_MEMORY;
    }
    const CURLMsg *message = curl_multi_info_read(http->multi, &left);
    return message == NULL ? CURLE_RECV_ERROR : message->data.result;
}

static int explain(const struct dbk_neo4j_http *http, CURLcode code, struct dbk_error *err)
{
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return dbk_error_set(err, DBK_ESCRIPT, "the statement was interrupted");
    if (code == CURLE_OUT_OF_MEMORY)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory sending a request");
    if (code == CURLE_WRITE_ERROR && http->answer->rc < 0)
        return dbk_error_set(err, http->answer->rc, "Neo4j: the answer is longer than %zu MiB",
                             DBK_NEO4J_ANSWER_SIZE_MAX >> 20);
    return dbk_error_set(err, DBK_ECONNECT, "Neo4j: %s",
                         http->message[0] != 0 ? http->message : curl_easy_strerror(code));
}

static CURLcode describe(struct dbk_neo4j_http *http, struct dbk_slice body, int64_t timeout_us)
{
    CURL *easy = http->easy;
    bool greets = body.size == 0;
    CURLcode rc = curl_easy_setopt(easy, CURLOPT_URL, greets ? http->greeting : http->commit);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(timeout_us / 1000) + 1);
    if (rc == CURLE_OK && greets)
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(easy, CURLOPT_POST, 1L);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data);
    if (rc == CURLE_OK)
        rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
    return rc;
}

int dbk_neo4j_http_send(struct dbk_neo4j_http *http, struct dbk_slice body, int64_t timeout_us,
                        struct dbk_buf *answer, long *status_out, struct dbk_error *err)
{
    dbk_buf_reset(answer);
    http->answer = answer;
    http->message[0] = 0;
    CURLcode code = describe(http, body, timeout_us);
    if (code == CURLE_OK && curl_multi_add_handle(http->multi, http->easy) != CURLM_OK)
        code = CURLE_OUT_OF_MEMORY;
    if (code == CURLE_OK) {
        code = perform(http);
        (void)curl_multi_remove_handle(http->multi, http->easy);
    }
    *status_out = 0;
    if (code != CURLE_OK)
        return explain(http, code, err);
    (void)curl_easy_getinfo(http->easy, CURLINFO_RESPONSE_CODE, status_out);
    return DBK_OK;
}
