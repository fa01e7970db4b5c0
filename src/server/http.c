/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "json/json.h"
#include "server/guard.h"
#include "server/stream.h"

#define HEADERS_MAX 100
#define IDLE_SECONDS 75
#define FINISH_MS 10000

struct listener {
    struct MHD_Daemon *daemon;
    int socket;
    bool quiet; /* it takes no more connections */
    struct listener *next;
};

struct dbk_http {
    struct dbk_engine *engine;
    struct dbk_access *access;
    struct listener *listeners; /* the newest first */
    bool local;
    unsigned connection_count_max;
    unsigned address_count_max;
    _Atomic bool stopping;
    _Atomic unsigned active; /* requests under way */
};

/* A request from its first byte to its answer's last. */
struct exchange {
    struct dbk_http *http;
    struct dbk_buf body;
    bool too_large;
    bool counted;
    struct dbk_api_request request;
    struct dbk_caller caller;
    struct dbk_api_field headers[HEADERS_MAX];
    struct dbk_buf path; /* path, '?', query as they came */
    struct dbk_stream *stream;
    int fd;
    /* an answer that comes whole */
    int status;
    struct dbk_buf answer;
    char fields[4][2][128];
    size_t field_count;
};

static void release(struct exchange *exchange)
{
    dbk_stream_free(exchange->stream);
    dbk_buf_release(&exchange->body);
    dbk_buf_release(&exchange->path);
    dbk_buf_release(&exchange->answer);
    if (exchange->counted)
        exchange->http->active--;
    dbk_free(exchange);
}

static void completed(void *context, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode why)
{
    (void)context;
    (void)connection;
    (void)why;
    if (*state != NULL)
        release(*state);
    *state = NULL;
}

/* The URI as it came, before anything decodes it. */
static void *keep_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct exchange *exchange = dbk_alloc_zero(1, sizeof(*exchange));
    (void)connection;
    if (exchange == NULL)
        return NULL;
    exchange->http = context;
    dbk_buf_init(&exchange->body, DBK_HTTP_BODY_SIZE_MAX);
    dbk_buf_init(&exchange->path, (size_t)1 << 20);
    dbk_buf_init(&exchange->answer, (size_t)1 << 30);
    dbk_buf_append_text(&exchange->path, uri);
    return exchange;
}

static enum MHD_Result keep_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct exchange *exchange = context;
    (void)kind;
    if (exchange->request.header_count == HEADERS_MAX)
        return MHD_NO;
    exchange->headers[exchange->request.header_count++] =
        (struct dbk_api_field){dbk_slice_of(name), dbk_slice_of(value == NULL ? "" : value)};
    return MHD_YES;
}

bool dbk_http_is_loopback(struct dbk_slice host)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < 2; i++) {
        struct dbk_slice scheme = dbk_slice_of(schemes[i]);
        if (dbk_slice_starts_with(host, scheme)) {
            host = dbk_slice(host.data + scheme.size, host.size - scheme.size);
            break;
        }
    }
    if (dbk_slice_starts_with(host, DBK_SLICE_LITERAL("[::1]")))
        return host.size == 5 || host.data[5] == ':';
    const char *colon = host.size == 0 ? NULL : memchr(host.data, ':', host.size);
    if (colon != NULL)
        host.size = (size_t)(colon - host.data);
    if (host.size == 9 && strncasecmp(host.data, "localhost", 9) == 0)
        return true;
    if (!dbk_slice_starts_with(host, DBK_SLICE_LITERAL("127.")))
        return false;
    for (size_t i = 4; i < host.size; i++) {
        if (host.data[i] != '.' && (host.data[i] < '0' || host.data[i] > '9'))
            return false;
    }
    return true;
}

static bool is_local(struct MHD_Connection *connection)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    return (host == NULL || dbk_http_is_loopback(dbk_slice_of(host))) &&
           (origin == NULL || dbk_http_is_loopback(dbk_slice_of(origin)));
}

/* A problem that is found before there is a request. */
/* seconds: in how many to ask again; 0: nothing is said. */
static enum MHD_Result refuse_until(struct MHD_Connection *connection, unsigned status, int code,
                                    const char *detail, uint64_t seconds)
{
    struct dbk_buf text;
    bool first = true;
    char number[24];
    dbk_buf_init(&text, 4096);
    dbk_buf_append_char(&text, '{');
    dbk_json_write_key(&text, &first, "type");
    dbk_buf_append_text(&text, "\"about:blank\"");
    dbk_json_write_key(&text, &first, "title");
    dbk_json_write_string(&text, dbk_slice_of(dbk_code_text(code)));
    dbk_buf_append_format(&text, ",\"status\":%u", status);
    dbk_json_write_key(&text, &first, "detail");
    dbk_json_write_string(&text, dbk_slice_of(detail));
    dbk_json_write_key(&text, &first, "code");
    dbk_json_write_string(&text, dbk_slice_of(dbk_code_name(code)));
    dbk_buf_append_text(&text, "}\n");
    struct MHD_Response *response =
        MHD_create_response_from_buffer(text.size, text.data, MHD_RESPMEM_MUST_COPY);
    dbk_buf_release(&text);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, "Content-Type", "application/problem+json");
    if (status == 401)
        (void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"daybook\"");
    if (seconds > 0) {
        (void)snprintf(number, sizeof(number), "%ju", (uintmax_t)seconds);
        (void)MHD_add_response_header(response, "Retry-After", number);
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, int code,
                              const char *detail)
{
    return refuse_until(connection, status, code, detail, 0);
}

/* ---- Answers that come whole ---- */

/* True when the client has closed its side: an HTTP client that waits for an answer does not. */
static bool is_gone(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN | POLLRDHUP};
    char byte;
    if (fd < 0 || poll(&poller, 1, 0) <= 0)
        return false;
    if ((poller.revents & (POLLHUP | POLLERR | POLLRDHUP)) != 0)
        return true;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static int begin_whole(void *context, int status, const struct dbk_api_field *headers,
                       size_t header_count)
{
    struct exchange *exchange = context;
    exchange->status = status;
    for (size_t i = 0; i < header_count && i < 4; i++) {
        (void)snprintf(exchange->fields[i][0], 128, "%.*s", DBK_SLICE_ARGS(headers[i].name));
        (void)snprintf(exchange->fields[i][1], 128, "%.*s", DBK_SLICE_ARGS(headers[i].value));
        exchange->field_count = i + 1;
    }
    return DBK_OK;
}

static int write_whole(void *context, struct dbk_slice bytes)
{
    struct exchange *exchange = context;
    dbk_buf_append(&exchange->answer, bytes);
    return exchange->answer.rc;
}

static int wait_whole(void *context)
{
    struct exchange *exchange = context;
    return exchange->http->stopping || is_gone(exchange->fd) ? DBK_ECONNECT : DBK_OK;
}

static enum MHD_Result answer_whole(struct exchange *exchange, struct MHD_Connection *connection)
{
    const struct dbk_api_response sink = {exchange, begin_whole, write_whole, wait_whole};
    int rc = dbk_api_handle(exchange->http->engine, &exchange->request, &sink);
    if (exchange->status == 0 || exchange->answer.rc < 0)
        return refuse(connection, 500, rc < 0 ? rc : DBK_ENOMEM, "the answer could not be made");
    struct MHD_Response *response = MHD_create_response_from_buffer(
        exchange->answer.size, exchange->answer.data, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    for (size_t i = 0; i < exchange->field_count; i++)
        (void)MHD_add_response_header(response, exchange->fields[i][0], exchange->fields[i][1]);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)exchange->status, response);
    MHD_destroy_response(response);
    return result;
}

/* ---- Answers that are sent while they are made ---- */

static ssize_t read_stream(void *context, uint64_t position, char *bytes, size_t size)
{
    struct exchange *exchange = context;
    (void)position;
    for (;;) {
        long count = dbk_stream_read(exchange->stream, bytes, size);
        if (count > 0)
            return count;
        if (count == -1)
            return MHD_CONTENT_READER_END_OF_STREAM;
        if (count < 0 || is_gone(exchange->fd))
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
}

static enum MHD_Result answer_stream(struct exchange *exchange, struct MHD_Connection *connection)
{
    struct dbk_error err = {0};
    const struct dbk_api_field *headers = NULL;
    size_t count = 0;
    int rc = dbk_stream_open(exchange->http->engine, &exchange->request, &exchange->http->stopping,
                             &exchange->stream, &err);
    if (rc < 0)
        return refuse(connection, 500, rc, err.message);
    int status = dbk_stream_head(exchange->stream, &headers, &count);
    if (status == 0)
        return refuse(connection, 500, DBK_ENOMEM, "the answer could not be made");
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, (size_t)64 << 10, read_stream, exchange, NULL);
    if (response == NULL)
        return MHD_NO;
    for (size_t i = 0; i < count; i++) {
        char name[128];
        char value[256];
        (void)snprintf(name, sizeof(name), "%.*s", DBK_SLICE_ARGS(headers[i].name));
        (void)snprintf(value, sizeof(value), "%.*s", DBK_SLICE_ARGS(headers[i].value));
        (void)MHD_add_response_header(response, name, value);
    }
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

/* Without its query. */
static struct dbk_slice path_of(const struct exchange *exchange)
{
    struct dbk_slice uri = dbk_buf_slice(&exchange->path);
    const char *mark = uri.size == 0 ? NULL : memchr(uri.data, '?', uri.size);
    return mark == NULL ? uri : dbk_slice(uri.data, (size_t)(mark - uri.data));
}

static void fill_request(struct exchange *exchange, struct MHD_Connection *connection,
                         const char *method)
{
    struct dbk_slice uri = dbk_buf_slice(&exchange->path);
    struct dbk_slice path = path_of(exchange);
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, keep_header, exchange);
    exchange->request.headers = exchange->headers;
    exchange->request.method = dbk_slice_of(method);
    exchange->request.path = path;
    if (path.size < uri.size)
        exchange->request.query = dbk_slice(uri.data + path.size + 1, uri.size - path.size - 1);
    exchange->request.body = dbk_buf_slice(&exchange->body);
    exchange->request.access = exchange->http->access;
}

static enum MHD_Result throttle(const struct exchange *exchange, struct MHD_Connection *connection,
                                int64_t late_us)
{
    char detail[160];
    (void)snprintf(detail, sizeof(detail),
                   "key %s has asked as often as it may: ask again in %jd ms, or have its limit "
                   "raised with `daybook access limit`",
                   dbk_caller_id(&exchange->caller), (intmax_t)((late_us + 999) / 1000));
    return refuse_until(connection, 429, DBK_ETHROTTLED, detail,
                        (uint64_t)(late_us + 999999) / 1000000);
}

static bool has_body(struct MHD_Connection *connection)
{
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return (length != NULL && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding") != NULL;
}

static enum MHD_Result first_call(struct exchange *exchange, struct MHD_Connection *connection,
                                  const char *method)
{
    uint64_t size = 0;
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    exchange->counted = true;
    exchange->http->active++;
    if (exchange->http->local && !is_local(connection))
        return refuse(connection, 403, DBK_EDENIED,
                      "only requests to this machine's loopback are answered here");
    /* Before the body is taken: who has no key is not to fill the memory. */
    const char *shown = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    bool open = shown == NULL && dbk_guard_is_open(dbk_slice_of(method), path_of(exchange));
    bool asks = dbk_access_asks(exchange->http->access);
    if (asks && open && has_body(connection))
        return refuse(connection, 400, DBK_EINVAL, "without an API key no body is taken");
    if (asks && !open) {
        struct dbk_error err = {0};
        if (dbk_access_identify(exchange->http->access, dbk_slice_of(shown == NULL ? "" : shown),
                                &exchange->caller, &err) < 0)
            return refuse(connection, 401, DBK_EKEY, err.message);
        exchange->request.caller = &exchange->caller;
        int64_t late_us = dbk_caller_take(&exchange->caller);
        if (late_us > 0)
            return throttle(exchange, connection, late_us);
    }
    if (length != NULL && dbk_slice_to_u64(dbk_slice_of(length), &size) &&
        size > DBK_HTTP_BODY_SIZE_MAX)
        return refuse(connection, 413, DBK_ELIMIT, "the body is larger than 64 MiB");
    return MHD_YES;
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    struct exchange *exchange = *state;
    (void)context;
    (void)url;
    (void)version;
    if (exchange == NULL)
        return MHD_NO;
    if (!exchange->counted)
        return first_call(exchange, connection, method);
    if (*upload_size > 0) {
        if (!exchange->too_large)
            dbk_buf_append(&exchange->body, dbk_slice(upload, *upload_size));
        exchange->too_large = exchange->body.rc < 0;
        *upload_size = 0;
        return MHD_YES;
    }
    if (exchange->too_large)
        return refuse(connection, 413, DBK_ELIMIT, "the body is larger than 64 MiB");
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    exchange->fd = info == NULL ? -1 : info->connect_fd;
    fill_request(exchange, connection, method);
    return dbk_api_streams(&exchange->request) ? answer_stream(exchange, connection)
                                               : answer_whole(exchange, connection);
}

/* ---- Listening ---- */

#define OPTIONS_COMMON(http)                                                                       \
    MHD_OPTION_URI_LOG_CALLBACK, keep_uri, http, MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,     \
        MHD_OPTION_CONNECTION_LIMIT, http->connection_count_max, MHD_OPTION_CONNECTION_TIMEOUT,    \
        (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)128 << 10,             \
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, http->address_count_max

/* fd is taken over, also on failure. */
static int start(struct dbk_http *http, int fd, const struct dbk_tls_pair *pair,
                 struct dbk_error *err)
{
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                           MHD_USE_POLL | MHD_USE_ITC;
    struct listener *listener = dbk_alloc_zero(1, sizeof(*listener));
    if (listener != NULL && pair == NULL)
        listener->daemon =
            MHD_start_daemon(flags, 0, NULL, NULL, handle, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
                             OPTIONS_COMMON(http), MHD_OPTION_END);
    else if (listener != NULL)
        listener->daemon = MHD_start_daemon(
            flags | MHD_USE_TLS, 0, NULL, NULL, handle, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
            OPTIONS_COMMON(http), MHD_OPTION_HTTPS_MEM_CERT, pair->certificate.data,
            MHD_OPTION_HTTPS_MEM_KEY, pair->key.data, MHD_OPTION_HTTPS_PRIORITIES,
            DBK_TLS_PRIORITIES, MHD_OPTION_END);
    if (listener == NULL || listener->daemon == NULL) {
        (void)close(fd);
        dbk_free(listener);
        return dbk_error_set(err, listener == NULL ? DBK_ENOMEM : DBK_EIO,
                             "the HTTP%s server cannot start", pair == NULL ? "" : "S");
    }
    listener->socket = fd;
    listener->next = http->listeners;
    http->listeners = listener;
    return DBK_OK;
}

static void quiesce(struct listener *listener)
{
    if (!listener->quiet)
        (void)MHD_quiesce_daemon(listener->daemon);
    listener->quiet = true;
}

static void stop(struct listener *listener)
{
    quiesce(listener);
    MHD_stop_daemon(listener->daemon);
    (void)close(listener->socket);
    dbk_free(listener);
}

int dbk_http_open(struct dbk_engine *engine, struct dbk_access *access,
                  const struct dbk_http_options *options, struct dbk_http **http_out,
                  struct dbk_error *err)
{
    struct dbk_http *http = dbk_alloc_zero(1, sizeof(*http));
    if (http == NULL) {
        (void)close(options->socket);
        return dbk_error_set(err, DBK_ENOMEM, "out of memory starting the server");
    }
    http->engine = engine;
    http->access = access;
    http->local = options->local;
    http->connection_count_max = options->connection_count_max;
    http->address_count_max = options->address_count_max;
    int rc = start(http, options->socket, options->pair, err);
    if (rc < 0) {
        dbk_free(http);
        return rc;
    }
    *http_out = http;
    return DBK_OK;
}

static bool has_connections(const struct listener *listener)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info == NULL || info->num_connections > 0;
}

/* Ends those that have nothing to go on with. */
static void sweep(struct dbk_http *http)
{
    for (struct listener **at = &http->listeners; *at != NULL;) {
        struct listener *listener = *at;
        if (listener->quiet && !has_connections(listener)) {
            *at = listener->next;
            stop(listener);
        } else {
            at = &listener->next;
        }
    }
}

/* Both listen for a moment, so that nobody is refused. */
int dbk_http_renew(struct dbk_http *http, const struct dbk_tls_pair *pair, struct dbk_error *err)
{
    struct listener *before = http->listeners;
    int fd = dup(before->socket);
    if (fd < 0)
        return dbk_error_set_errno(err, errno, "listen once more");
    int rc = start(http, fd, pair, err);
    if (rc < 0)
        return rc;
    quiesce(before);
    sweep(http);
    return DBK_OK;
}

void dbk_http_free(struct dbk_http *http)
{
    if (http == NULL)
        return;
    for (struct listener *listener = http->listeners; listener != NULL; listener = listener->next)
        quiesce(listener);
    http->stopping = true;
    for (int waited_ms = 0; http->active > 0 && waited_ms < FINISH_MS; waited_ms += 10) {
        dbk_store_wake(dbk_engine_store(http->engine));
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    while (http->listeners != NULL) {
        struct listener *listener = http->listeners;
        http->listeners = listener->next;
        stop(listener);
    }
    dbk_free(http);
}
