/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/data.h"
#include "cli/fail.h"

#define FILE_SIZE_MAX ((size_t)48 << 20)

/* "\"3\"", for If-Match; valid until the call has been sent. */
static char version_text[32];

static void add_expectation(const struct dbk_arguments *arguments, struct dbk_call *call)
{
    const char *expect = dbk_arguments_text(arguments, "expect");
    uint64_t version = 0;
    if (expect == NULL || strcmp(expect, "any") == 0)
        return;
    if (strcmp(expect, "exists") == 0) {
        dbk_call_header(call, "If-Match", "*");
    } else if (strcmp(expect, "none") == 0 || strcmp(expect, "0") == 0) {
        dbk_call_header(call, "If-None-Match", "*");
    } else if (dbk_slice_to_u64(dbk_slice_of(expect), &version)) {
        (void)snprintf(version_text, sizeof(version_text), "\"%ju\"", (uintmax_t)version);
        dbk_call_header(call, "If-Match", version_text);
    }
}

static bool is_expectation(const char *expect)
{
    uint64_t version = 0;
    return strcmp(expect, "any") == 0 || strcmp(expect, "exists") == 0 ||
           strcmp(expect, "none") == 0 || dbk_slice_to_u64(dbk_slice_of(expect), &version);
}

static void write_text(struct dbk_buf *body, bool *first, const char *key, const char *text)
{
    if (text == NULL)
        return;
    dbk_json_write_key(body, first, key);
    dbk_json_write_string(body, dbk_slice_of(text));
}

static void write_tags(struct dbk_buf *body, bool *first, const char *tags)
{
    if (tags == NULL)
        return;
    dbk_json_write_key(body, first, "tags");
    dbk_buf_append_char(body, '[');
    for (const char *at = tags;; at++) {
        size_t size = strcspn(at, ",");
        dbk_json_write_string(body, dbk_slice(at, size));
        at += size;
        if (*at == '\0')
            break;
        dbk_buf_append_char(body, ',');
    }
    dbk_buf_append_char(body, ']');
}

static int write_event(const struct dbk_arguments *arguments, struct dbk_call *call, bool stream,
                       struct dbk_error *err)
{
    bool first = true;
    const char *meta = dbk_arguments_text(arguments, "meta");
    dbk_buf_append_char(&call->body, '{');
    if (stream)
        write_text(&call->body, &first, "stream", arguments->positional[0]);
    write_text(&call->body, &first, "type", arguments->positional[1]);
    dbk_json_write_key(&call->body, &first, "data");
    int rc = dbk_call_json(call, "the event's data", arguments->positional[2], err);
    if (rc == DBK_OK && meta != NULL) {
        dbk_json_write_key(&call->body, &first, "meta");
        rc = dbk_call_json(call, "--meta", meta, err);
    }
    write_text(&call->body, &first, "id", dbk_arguments_text(arguments, "id"));
    write_text(&call->body, &first, "occurred", dbk_arguments_text(arguments, "occurred"));
    write_tags(&call->body, &first, dbk_arguments_text(arguments, "tags"));
    if (dbk_arguments_has(arguments, "schema-version")) {
        dbk_json_write_key(&call->body, &first, "schema_version");
        dbk_json_write_u64(&call->body, dbk_arguments_number(arguments, "schema-version", 0));
    }
    dbk_buf_append_char(&call->body, '}');
    return rc;
}

static int one_event(const struct dbk_arguments *arguments, struct dbk_call *call,
                     struct dbk_error *err)
{
    dbk_call_path(call, dbk_slice_of(arguments->positional[0]));
    add_expectation(arguments, call);
    return write_event(arguments, call, false, err);
}

/* ,"condition":{"fail_if_match":…,"after":N} */
static int write_condition(const struct dbk_arguments *arguments, struct dbk_call *call,
                           struct dbk_error *err)
{
    const char *query = dbk_arguments_text(arguments, "fail-if");
    if (query == NULL)
        return DBK_OK;
    dbk_buf_append_text(&call->body, ",\"condition\":{\"fail_if_match\":");
    int rc = dbk_call_json(call, "--fail-if", query, err);
    dbk_buf_append_format(&call->body, ",\"after\":%ju}",
                          (uintmax_t)dbk_arguments_number(arguments, "after", 0));
    return rc;
}

static int guarded_event(const struct dbk_arguments *arguments, struct dbk_call *call,
                         struct dbk_error *err)
{
    const char *expect = dbk_arguments_text(arguments, "expect");
    uint64_t version = 0;
    dbk_buf_append_text(&call->body, "{\"events\":[");
    int rc = write_event(arguments, call, true, err);
    dbk_buf_append_text(&call->body, "]");
    if (expect != NULL) {
        bool number = dbk_slice_to_u64(dbk_slice_of(expect), &version);
        dbk_buf_append_text(&call->body, ",\"expect\":[{\"stream\":");
        dbk_json_write_string(&call->body, dbk_slice_of(arguments->positional[0]));
        dbk_buf_append_format(&call->body, number ? ",\"version\":%s}]" : ",\"version\":\"%s\"}]",
                              expect);
    }
    if (rc == DBK_OK)
        rc = write_condition(arguments, call, err);
    dbk_buf_append_text(&call->body, "}");
    return rc;
}

static int read_input(struct dbk_buf *text, struct dbk_error *err)
{
    char buffer[64 << 10];
    size_t size = 0;
    while ((size = fread(buffer, 1, sizeof(buffer), stdin)) > 0)
        dbk_buf_append(text, dbk_slice(buffer, size));
    if (ferror(stdin))
        return dbk_error_set_errno(err, errno, "standard input");
    if (text->rc < 0)
        return dbk_error_set(err, text->rc,
                             "standard input is past %zu bytes, the most that one "
                             "batch may have",
                             FILE_SIZE_MAX);
    return DBK_OK;
}

/* Writes the lines as members of an array; each must be a JSON object with a stream. */
static int write_lines(struct dbk_buf *body, struct dbk_slice text, const char *name,
                       struct dbk_error *err)
{
    struct dbk_error why = {0};
    const struct dbk_json_node *nodes = NULL;
    struct dbk_json *json = dbk_json_create(FILE_SIZE_MAX);
    int rc =
        json == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM)) : DBK_OK;
    bool first = true;
    for (size_t number = 1; rc == DBK_OK && text.size > 0; number++) {
        const char *end = memchr(text.data, '\n', text.size);
        struct dbk_slice line =
            dbk_slice(text.data, end != NULL ? (size_t)(end - text.data) : text.size);
        text = dbk_slice(text.data + line.size, text.size - line.size);
        if (text.size > 0)
            text = dbk_slice(text.data + 1, text.size - 1);
        if (line.size > 0 && line.data[line.size - 1] == '\r')
            line.size--;
        if (line.size == 0)
            continue;
        rc = dbk_json_parse(json, line, &nodes, &why);
        if (rc == DBK_OK && nodes[0].kind != DBK_JSON_OBJECT)
            rc = dbk_error_set(&why, DBK_EINVAL, "an event is an object");
        if (rc < 0)
            rc = dbk_error_set(err, rc, "%s:%zu: %s", name, number, why.message);
        if (!first)
            dbk_buf_append_char(body, ',');
        first = false;
        dbk_buf_append(body, line);
    }
    dbk_json_free(json);
    return rc;
}

static int file_of_events(const struct dbk_arguments *arguments, struct dbk_call *call,
                          struct dbk_error *err)
{
    const char *name = dbk_arguments_text(arguments, "file");
    bool input = strcmp(name, "-") == 0;
    struct dbk_buf text;
    dbk_buf_init(&text, FILE_SIZE_MAX);
    int rc = input ? read_input(&text, err)
                   : dbk_os_read_file(dbk_os_real(), name, FILE_SIZE_MAX, &text, err);
    if (rc == DBK_OK) {
        dbk_buf_append_text(&call->body, "{\"events\":[");
        rc = write_lines(&call->body, dbk_buf_slice(&text), input ? "standard input" : name, err);
        dbk_buf_append_text(&call->body, "]");
        if (dbk_arguments_has(arguments, "skip-known"))
            dbk_buf_append_text(&call->body, ",\"skip_known\":true");
        if (rc == DBK_OK)
            rc = write_condition(arguments, call, err);
        dbk_buf_append_text(&call->body, "}");
    }
    dbk_buf_release(&text);
    return rc;
}

/* Options that say something about a single event. */
static const char *wrong_with_file(const struct dbk_arguments *arguments)
{
    static const char *const names[] = {"expect", "id",   "occurred",
                                        "meta",   "tags", "schema-version"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (dbk_arguments_has(arguments, names[i]))
            return names[i];
    return NULL;
}

int dbk_run_append(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_call call;
    bool file = dbk_arguments_has(arguments, "file");
    const char *wrong = file ? wrong_with_file(arguments) : NULL;
    if (arguments->positional_count != (file ? 0 : 3))
        return dbk_fail_usage(arguments, "append takes STREAM TYPE JSON, or --file FILE");
    if (wrong != NULL)
        return dbk_fail_usage(arguments, "with --file, %s is said in the file's lines", wrong);
    const char *expect = dbk_arguments_text(arguments, "expect");
    if (expect != NULL && !is_expectation(expect))
        return dbk_fail_usage(arguments, "--expect is a version, none, exists or any, not \"%s\"",
                              expect);
    bool guarded = dbk_arguments_has(arguments, "fail-if");
    if (dbk_arguments_has(arguments, "after") && !guarded)
        return dbk_fail_usage(arguments, "--after goes with --fail-if");
    dbk_call_init(&call, "POST", file || guarded ? "/events" : "/streams/");
    int rc = file      ? file_of_events(arguments, &call, &err)
             : guarded ? guarded_event(arguments, &call, &err)
                       : one_event(arguments, &call, &err);
    if (rc < 0) {
        dbk_call_release(&call);
        return dbk_fail(arguments, &err);
    }
    if (!file)
        dbk_call_option(&call, arguments, "skip-known", "skip_known");
    dbk_call_option(&call, arguments, "durability", "durability");
    return dbk_data_answer(arguments, &call, &(struct dbk_data_show){.mode = DBK_ENGINE_WRITE});
}
