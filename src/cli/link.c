/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/link.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "cli/fail.h"
#include "cli/progress.h"
#include "cli/wire.h"
#include "json/json.h"

/* How long a command waits for another one that holds the book: two seconds. */
#define BUSY_TRIES 40
#define BUSY_PAUSE_MS 50
#define ANSWER_SIZE_MAX ((size_t)1 << 31)
#define SOCKET_NAME "daybook.sock"
#define KEY_FILE_SIZE_MAX 256
/* What the system takes, and a NUL. */
#define SOCKET_PATH_SIZE 108

struct dbk_link {
    struct dbk_engine *engine;     /* NULL: a server */
    struct dbk_access *access;     /* that the engine's requests are held to; NULL: to nothing */
    char socket[SOCKET_PATH_SIZE]; /* of the book's server */
    bool is_url;                   /* another server was named */
    struct dbk_url url;
    const char *ca;
    struct dbk_buf key; /* that was named, or this machine's operator's, where it can be read */
    bool named_key;
    struct dbk_wire *wire;         /* NULL: none */
    bool reused;                   /* it has carried an answer before */
    struct dbk_progress *progress; /* NULL: none */
};

static volatile sig_atomic_t stopped;

void dbk_link_stop(void)
{
    stopped = 1;
}

bool dbk_link_stopped(void)
{
    return stopped != 0;
}

static void on_signal(int number)
{
    (void)number;
    dbk_link_stop();
}

void dbk_link_stop_on_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* ---- Opening ---- */

static const char *of_environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* One that was named must be one. A line end behind it is an editor's. */
static int read_named_key(struct dbk_link *link, const char *path, struct dbk_error *err)
{
    struct dbk_slice id;
    struct dbk_slice secret;
    int rc = dbk_os_read_file(dbk_os_real(), path, KEY_FILE_SIZE_MAX, &link->key, err);
    while (rc == DBK_OK && link->key.size > 0 && link->key.data[link->key.size - 1] <= ' ')
        link->key.size--;
    if (rc == DBK_OK && !dbk_key_text_parse(dbk_buf_slice(&link->key), &id, &secret))
        rc = dbk_error_set(err, DBK_EINVAL,
                           "%s holds no API key: put there what `daybook access add` showed, dbk_…",
                           path);
    return rc;
}

/* The server made it before it listened; without one, or one that is not ours to read, the server
   says what is missing. */
static void read_local_key(struct dbk_link *link)
{
    struct dbk_slice id;
    struct dbk_slice secret;
    char name[sizeof(link->socket) + sizeof(DBK_ACCESS_FILE)];
    (void)snprintf(name, sizeof(name), "%.*s" DBK_ACCESS_FILE,
                   (int)(strlen(link->socket) - strlen(SOCKET_NAME)), link->socket);
    dbk_buf_reset(&link->key);
    if (dbk_os_read_file(dbk_os_real(), name, KEY_FILE_SIZE_MAX, &link->key, NULL) < 0 ||
        !dbk_key_text_parse(dbk_buf_slice(&link->key), &id, &secret))
        dbk_buf_reset(&link->key);
}

static int open_wire(struct dbk_link *link, struct dbk_error *err)
{
    int rc = link->is_url ? dbk_wire_open_url(&link->url, link->ca, &link->wire, err)
                          : dbk_wire_open_socket(link->socket, &link->wire, err);
    if (rc < 0)
        return rc;
    link->reused = false;
    if (!link->is_url && !link->named_key)
        read_local_key(link);
    return DBK_OK;
}

int dbk_link_open_engine(const struct dbk_place *place, enum dbk_engine_mode mode,
                         const char *holder, struct dbk_engine **engine_out, struct dbk_error *err)
{
    struct dbk_diagnostics faults;
    dbk_diagnostics_init(&faults);
    struct dbk_progress progress;
    dbk_progress_begin(&progress, "index", "events");
    int rc = dbk_engine_open(&(struct dbk_engine_options){.os = dbk_os_real(),
                                                          .folder = place->folder,
                                                          .data = place->data,
                                                          .environment = place->environment,
                                                          .holder = holder,
                                                          .mode = mode,
                                                          .step = dbk_progress_step,
                                                          .context = &progress},
                             &faults, engine_out, err);
    dbk_progress_clear(&progress);
    if (rc == DBK_EBOOK) {
        dbk_fail_diagnostics(stderr, &faults);
        rc = dbk_place_faults(place, faults.error_count, err);
    }
    dbk_diagnostics_release(&faults);
    return rc;
}

/* A server, or the engine here. Another command that holds the book is done in a moment. */
static int open_either(struct dbk_link *link, const struct dbk_place *place,
                       enum dbk_engine_mode mode, const char *holder, bool named,
                       struct dbk_error *err)
{
    int rc = DBK_EBUSY;
    for (int tries = 0; rc == DBK_EBUSY && tries < BUSY_TRIES; tries++) {
        if (tries > 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = BUSY_PAUSE_MS * 1000000L}, NULL);
        /* No server can listen where a name does not fit. */
        rc = named ? open_wire(link, err) : DBK_ENOTFOUND;
        if (rc == DBK_ENOTFOUND)
            rc = dbk_link_open_engine(place, mode, holder, &link->engine, err);
    }
    return rc;
}

static int create_link(struct dbk_link **link_out, struct dbk_error *err)
{
    struct dbk_link *link = dbk_alloc_zero(1, sizeof(*link));
    if (link == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    dbk_buf_init(&link->key, KEY_FILE_SIZE_MAX);
    *link_out = link;
    return DBK_OK;
}

static int open_url(struct dbk_link *link, const struct dbk_arguments *arguments, const char *text,
                    struct dbk_error *err)
{
    if (dbk_arguments_has(arguments, "book") || dbk_arguments_has(arguments, "data") ||
        dbk_arguments_has(arguments, "env"))
        return dbk_error_set(err, DBK_EINVAL,
                             "--url names a server, which knows its book: --book, --data and --env "
                             "do not go with it");
    int rc = dbk_url_parse(text, &link->url, err);
    if (rc < 0)
        return rc;
    link->is_url = true;
    link->ca = dbk_arguments_text(arguments, "ca");
    if (link->ca == NULL)
        link->ca = of_environment("DAYBOOK_CA");
    if (!link->url.tls && link->key.size > 0 && !dbk_url_is_loopback(&link->url))
        return dbk_error_set(err, DBK_EDENIED,
                             "the API key could be read on its way to %s: write https://",
                             link->url.host);
    return open_wire(link, err);
}

static int open_place(struct dbk_link *link, const struct dbk_arguments *arguments,
                      enum dbk_engine_mode mode, struct dbk_error *err)
{
    struct dbk_place place;
    char data[DBK_PLACE_SIZE_MAX];
    char holder[64];
    int rc = dbk_place_find(arguments, &place, err);
    if (rc == DBK_OK)
        rc = dbk_place_data(&place, data, err);
    if (rc < 0)
        return rc;
    int size = snprintf(link->socket, sizeof(link->socket), "%s/" SOCKET_NAME, data);
    (void)snprintf(holder, sizeof(holder), "daybook %s", arguments->command->name);
    return open_either(link, &place, mode, holder, size < (int)sizeof(link->socket), err);
}

int dbk_link_open(const struct dbk_arguments *arguments, enum dbk_engine_mode mode,
                  struct dbk_link **link_out, struct dbk_error *err)
{
    struct dbk_link *link = NULL;
    const char *url = dbk_arguments_text(arguments, "url");
    const char *key = dbk_arguments_text(arguments, "key-file");
    int rc = create_link(&link, err);
    if (key == NULL)
        key = of_environment("DAYBOOK_KEY_FILE");
    if (rc == DBK_OK && key != NULL)
        rc = read_named_key(link, key, err);
    if (rc == DBK_OK) {
        link->named_key = key != NULL;
        rc = url != NULL ? open_url(link, arguments, url, err)
                         : open_place(link, arguments, mode, err);
    }
    if (rc < 0) {
        dbk_link_free(link);
        return rc;
    }
    *link_out = link;
    return DBK_OK;
}

int dbk_link_open_beside(const struct dbk_arguments *arguments, enum dbk_engine_mode mode,
                         struct dbk_link **link_out, struct dbk_error *err)
{
    struct dbk_place place;
    struct dbk_link *link = NULL;
    int rc = create_link(&link, err);
    if (rc == DBK_OK)
        rc = dbk_place_find(arguments, &place, err);
    if (rc == DBK_OK)
        rc = dbk_link_open_engine(&place, mode, "daybook", &link->engine, err);
    if (rc < 0) {
        dbk_link_free(link);
        return rc;
    }
    *link_out = link;
    return DBK_OK;
}

void dbk_link_free(struct dbk_link *link)
{
    if (link == NULL)
        return;
    dbk_wire_free(link->wire);
    dbk_access_free(link->access);
    dbk_engine_free(link->engine);
    dbk_buf_release(&link->key);
    dbk_free(link);
}

void dbk_link_show(struct dbk_link *link, struct dbk_progress *progress)
{
    link->progress = progress;
}

int dbk_link_as(struct dbk_link *link, struct dbk_slice key, struct dbk_error *err)
{
    link->named_key = true;
    dbk_buf_reset(&link->key);
    dbk_buf_append(&link->key, key);
    if (link->key.rc < 0)
        return dbk_error_set(err, link->key.rc, "the API key: %s", dbk_code_text(link->key.rc));
    return link->engine == NULL || link->access != NULL
               ? DBK_OK
               : dbk_access_open(link->engine, &(struct dbk_access_options){0}, &link->access, err);
}

struct dbk_engine *dbk_link_engine(struct dbk_link *link)
{
    return link->engine;
}

/* ---- Answers ---- */

void dbk_answer_init(struct dbk_answer *answer)
{
    *answer = (struct dbk_answer){0};
    dbk_buf_init(&answer->body, ANSWER_SIZE_MAX);
}

void dbk_answer_release(struct dbk_answer *answer)
{
    dbk_buf_release(&answer->body);
}

/* One request under way: what its answer's bytes are handed to. */
struct exchange {
    struct dbk_answer *answer;
    dbk_http_body_fn each;
    void *context;
    int failed; /* what `each` answered, 0 or negative */
    struct dbk_progress *progress;
};

static int take_bytes(struct exchange *exchange, int status, struct dbk_slice bytes)
{
    if (status < 300 && exchange->each != NULL) {
        exchange->failed = exchange->each(exchange->context, bytes);
        return exchange->failed;
    }
    dbk_buf_append(&exchange->answer->body, bytes);
    return exchange->answer->body.rc;
}

static int code_of(struct dbk_slice name)
{
#define CODE(code_name, value, wire, text)                                                         \
    if (dbk_slice_equal_text(name, wire))                                                          \
        return value;
    DBK_CODES(CODE)
#undef CODE
    return DBK_EIO;
}

int dbk_link_problem(const struct dbk_json_node *root, int status, struct dbk_error *err)
{
    const struct dbk_json_node *code = dbk_json_member(root, "code");
    const struct dbk_json_node *detail = dbk_json_member(root, "detail");
    int rc = code != NULL && code->kind == DBK_JSON_STRING ? code_of(code->text) : DBK_EIO;
    if (detail == NULL || detail->kind != DBK_JSON_STRING)
        detail = dbk_json_member(root, "title");
    if (detail != NULL && detail->kind == DBK_JSON_STRING)
        return dbk_error_set(err, rc, "%.*s", DBK_SLICE_ARGS(detail->text));
    return dbk_error_set(err, rc, "the server answered with status %d", status);
}

/* Turns a problem document into a code and a message. */
static int problem(const struct dbk_answer *answer, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_json *json = dbk_json_create(1 << 20);
    int rc = json == NULL || dbk_json_parse(json, dbk_buf_slice(&answer->body), &root, NULL) < 0
                 ? dbk_error_set(err, DBK_EIO, "the server answered with status %d", answer->status)
                 : dbk_link_problem(root, answer->status, err);
    dbk_json_free(json);
    return rc;
}

static int finish(const struct exchange *exchange, struct dbk_error *err)
{
    const struct dbk_answer *answer = exchange->answer;
    if (exchange->failed < 0)
        return exchange->failed;
    if (answer->body.rc < 0)
        return dbk_error_set(err, answer->body.rc, "the answer: %s",
                             dbk_code_text(answer->body.rc));
    return answer->status < 300 ? DBK_OK : problem(answer, err);
}

/* ---- In this process ---- */

static int begin_here(void *context, int status, const struct dbk_api_field *headers,
                      size_t header_count)
{
    struct exchange *exchange = context;
    exchange->answer->status = status;
    for (size_t i = 0; i < header_count; i++)
        if (headers[i].name.size == 16 &&
            strncasecmp(headers[i].name.data, "daybook-position", 16) == 0)
            (void)dbk_slice_to_u64(headers[i].value, &exchange->answer->position);
    return DBK_OK;
}

static int write_here(void *context, struct dbk_slice bytes)
{
    struct exchange *exchange = context;
    if (stopped && exchange->answer->status < 400) /* what ended says why */
        return DBK_ESTOPPED;
    return take_bytes(exchange, exchange->answer->status, bytes);
}

static int wait_here(void *context)
{
    (void)context;
    return stopped ? DBK_ESTOPPED : DBK_OK;
}

static void show_here(void *context, uint64_t done, uint64_t total)
{
    struct exchange *exchange = context;
    if (exchange->progress != NULL)
        dbk_progress_update(exchange->progress, done, done, total);
}

/* What a server does with a request's header. */
static int identify_here(struct dbk_link *link, struct dbk_caller *caller, struct dbk_error *err)
{
    char header[KEY_FILE_SIZE_MAX + 8] = "";
    if (link->key.size > 0)
        (void)snprintf(header, sizeof(header), "Bearer %.*s",
                       DBK_SLICE_ARGS(dbk_buf_slice(&link->key)));
    int rc = dbk_access_identify(link->access, dbk_slice_of(header), caller, err);
    explicit_bzero(header, sizeof(header));
    return rc;
}

static int send_here(struct dbk_link *link, const struct dbk_call *call, struct exchange *exchange,
                     struct dbk_error *err)
{
    struct dbk_caller caller;
    int rc = link->access == NULL ? DBK_OK : identify_here(link, &caller, err);
    if (rc < 0)
        return rc;
    struct dbk_api_request request = {.method = dbk_slice_of(call->method),
                                      .path = dbk_buf_slice(&call->path),
                                      .query = dbk_buf_slice(&call->query),
                                      .headers = call->headers,
                                      .header_count = call->header_count,
                                      .body = dbk_buf_slice(&call->body),
                                      .access = link->access,
                                      .caller = link->access == NULL ? NULL : &caller};
    struct dbk_api_response response = {.context = exchange,
                                        .begin = begin_here,
                                        .write = write_here,
                                        .wait = wait_here,
                                        .progress = show_here};
    (void)dbk_api_handle(link->engine, &request, &response);
    return DBK_OK;
}

/* ---- Over a connection ---- */

static int send_request(struct dbk_link *link, const struct dbk_call *call, struct dbk_error *err)
{
    struct dbk_buf head;
    dbk_buf_init(&head, 1 << 20);
    dbk_buf_append_format(&head, "%s %.*s", call->method, DBK_SLICE_ARGS(call->path));
    if (call->query.size > 0)
        dbk_buf_append_format(&head, "?%.*s", DBK_SLICE_ARGS(call->query));
    dbk_buf_append_format(&head, " HTTP/1.1\r\nHost: %s\r\n",
                          link->is_url ? link->url.authority : "localhost");
    if (link->key.size > 0)
        dbk_buf_append_format(&head, "Authorization: Bearer %.*s\r\n",
                              DBK_SLICE_ARGS(dbk_buf_slice(&link->key)));
    for (size_t i = 0; i < call->header_count; i++)
        dbk_buf_append_format(&head, "%.*s: %.*s\r\n", DBK_SLICE_ARGS(call->headers[i].name),
                              DBK_SLICE_ARGS(call->headers[i].value));
    if (call->body.size > 0)
        dbk_buf_append_text(&head, "Content-Type: application/json\r\n");
    if (call->body.size > 0 || strcmp(call->method, "POST") == 0)
        dbk_buf_append_format(&head, "Content-Length: %zu\r\n", call->body.size);
    dbk_buf_append_text(&head, "\r\n");
    int rc = head.rc < 0 ? dbk_error_set(err, head.rc, "the request: %s", dbk_code_text(head.rc))
                         : dbk_wire_send(link->wire, dbk_buf_slice(&head), err);
    dbk_buf_release(&head);
    return rc < 0 ? rc : dbk_wire_send(link->wire, dbk_buf_slice(&call->body), err);
}

struct receiving {
    struct exchange *exchange;
    struct dbk_http_reply reply;
};

static int take_body(void *context, struct dbk_slice bytes)
{
    struct receiving *receiving = context;
    return take_bytes(receiving->exchange, receiving->reply.status, bytes);
}

static int receive_answer(struct dbk_link *link, struct receiving *receiving, struct dbk_error *err)
{
    size_t size_max = (size_t)64 << 10;
    char *buffer = dbk_alloc(size_max);
    if (buffer == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    int rc = DBK_OK;
    while (rc >= 0 && receiving->reply.state != DBK_HTTP_DONE) {
        size_t size = 0;
        rc = dbk_wire_receive(link->wire, buffer, size_max, &size, err);
        if (rc > 0)
            rc = dbk_http_reply_push(&receiving->reply, dbk_slice(buffer, size), NULL, err);
        else if (rc == 0)
            rc = dbk_http_reply_end(&receiving->reply, err);
    }
    dbk_free(buffer);
    receiving->exchange->answer->status = receiving->reply.status;
    receiving->exchange->answer->position = receiving->reply.position;
    return rc;
}

static void drop_connection(struct dbk_link *link)
{
    dbk_wire_free(link->wire);
    link->wire = NULL;
}

static int try_wire(struct dbk_link *link, const struct dbk_call *call, struct exchange *exchange,
                    struct dbk_error *err)
{
    int rc = link->wire == NULL ? open_wire(link, err) : DBK_OK;
    if (rc < 0)
        return rc == DBK_ENOTFOUND ? DBK_ECONNECT : rc;
    struct receiving *receiving = dbk_alloc_zero(1, sizeof(*receiving));
    if (receiving == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    receiving->exchange = exchange;
    dbk_http_reply_init(&receiving->reply, take_body, receiving);
    rc = send_request(link, call, err);
    if (rc == DBK_OK)
        rc = receive_answer(link, receiving, err);
    if (rc < 0 || !(receiving->reply.sized || receiving->reply.chunked))
        drop_connection(link);
    link->reused = true;
    dbk_free(receiving);
    return rc;
}

static int send_there(struct dbk_link *link, const struct dbk_call *call, struct exchange *exchange,
                      struct dbk_error *err)
{
    bool reused = link->wire != NULL && link->reused;
    int rc = try_wire(link, call, exchange, err);
    /* A server may close a connection that lay idle, just as the next request is on its way; that
       request, of which no answer came, is sent again on a fresh one. */
    if (reused && (rc == DBK_ECONNECT || rc == DBK_EIO) && exchange->answer->status == 0)
        rc = try_wire(link, call, exchange, err);
    return rc < 0 && exchange->failed == 0 && rc != DBK_ESTOPPED && exchange->answer->status == 0
               ? dbk_error_set(err, DBK_ECONNECT, "no answer from the server at %s",
                               link->is_url ? link->url.authority : link->socket)
               : rc;
}

int dbk_link_send(struct dbk_link *link, struct dbk_call *call, dbk_http_body_fn each,
                  void *context, struct dbk_answer *answer, struct dbk_error *err)
{
    struct exchange exchange = {
        .answer = answer, .each = each, .context = context, .progress = link->progress};
    int rc = dbk_call_check(call, err);
    if (rc < 0)
        return rc;
    dbk_buf_reset(&answer->body);
    answer->status = 0;
    answer->position = 0;
    if (link->engine != NULL)
        rc = send_here(link, call, &exchange, err);
    else
        rc = send_there(link, call, &exchange, err);
    if (stopped && exchange.failed == 0 && rc != DBK_EKEY &&
        (rc == DBK_ESTOPPED || answer->status == 0))
        return dbk_error_set(err, DBK_ESTOPPED, "interrupted");
    return rc < 0 ? rc : finish(&exchange, err);
}
