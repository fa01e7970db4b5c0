/* SPDX-License-Identifier: Apache-2.0 */
/* schema infer: proposes the files of types from stored events, read once. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/link.h"
#include "cli/progress.h"
#include "json/json.h"
#include "schema/infer.h"

#define TYPES_MAX 1000
#define DATA_SIZE_MAX ((size_t)64 << 20)
#define ANSWER_SIZE_MAX ((size_t)256 << 20)
#define COUNT_STEP 65536

struct type {
    char *name;
    struct dbk_inference *inference;
};

struct inferring {
    struct dbk_engine *engine;
    struct dbk_json *json;
    struct type *types; /* TYPES_MAX */
    size_t count;
    struct dbk_progress progress;
};

static int find_type(struct inferring *inferring, struct dbk_slice name, struct type **type_out,
                     struct dbk_error *err)
{
    for (size_t i = 0; i < inferring->count; i++) {
        if (dbk_slice_equal_text(name, inferring->types[i].name)) {
            *type_out = &inferring->types[i];
            return DBK_OK;
        }
    }
    if (inferring->count == TYPES_MAX)
        return dbk_error_set(err, DBK_ELIMIT, "there are more than %d types: name one", TYPES_MAX);
    struct type *type = &inferring->types[inferring->count];
    *type = (struct type){.name = dbk_copy_text(name), .inference = dbk_inference_create()};
    inferring->count++;
    *type_out = type;
    return type->name == NULL || type->inference == NULL
               ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
               : DBK_OK;
}

static int take_event(struct inferring *inferring, const struct dbk_event *event,
                      struct dbk_error *err)
{
    struct type *type = NULL;
    const struct dbk_json_node *root = NULL;
    if ((event->flags & DBK_RECORD_JSON) == 0 || (event->flags & DBK_RECORD_REMOVED) != 0)
        return DBK_OK;
    int rc = find_type(inferring, event->type, &type, err);
    if (rc == DBK_OK)
        rc = dbk_json_parse(inferring->json, event->data, &root, err);
    if (rc == DBK_OK && dbk_inference_add(type->inference, root) < 0)
        rc = dbk_error_set(err, DBK_ENOMEM, "the events of %s have too many shapes", type->name);
    return rc;
}

static int read_events(struct inferring *inferring, const char *name, struct dbk_error *err)
{
    struct dbk_store *store = dbk_engine_store(inferring->engine);
    struct dbk_slice type = dbk_slice_of(name);
    struct dbk_cursor *cursor = NULL;
    struct dbk_event event;
    uint64_t last = dbk_store_last_position(store);
    int rc = dbk_cursor_open(
        store, &(struct dbk_filter){.types = &type, .type_count = name == NULL ? 0 : 1}, &cursor,
        err);
    for (uint64_t count = 1; rc >= 0 && (rc = dbk_cursor_next(cursor, &event, err)) == 1; count++) {
        rc = take_event(inferring, &event, err);
        if (rc < 0)
            break;
        if (count % COUNT_STEP == 0)
            dbk_progress_update(&inferring->progress, count, event.position, last);
    }
    dbk_cursor_free(cursor);
    dbk_progress_clear(&inferring->progress);
    return rc;
}

static int compare_types(const void *a, const void *b)
{
    const struct type *left = a;
    const struct type *right = b;
    return strcmp(left->name, right->name);
}

/* One type: the file itself; all: an object of them. */
static int print(struct inferring *inferring, bool all, struct dbk_error *err)
{
    struct dbk_buf out;
    dbk_buf_init(&out, ANSWER_SIZE_MAX);
    if (inferring->count > 1)
        qsort(inferring->types, inferring->count, sizeof(*inferring->types), compare_types);
    dbk_buf_append_text(&out, all ? "{" : "");
    for (size_t i = 0; i < inferring->count; i++) {
        if (all) {
            dbk_buf_append_text(&out, i == 0 ? "\n    " : ",\n    ");
            dbk_json_write_string(&out, dbk_slice_of(inferring->types[i].name));
            dbk_buf_append_text(&out, ": ");
        }
        dbk_inference_write(inferring->types[i].inference, all ? 4 : 0, &out);
    }
    dbk_buf_append_text(&out, all ? "\n}\n" : "\n");
    int rc =
        out.rc < 0 ? dbk_error_set(err, out.rc, "the answer: %s", dbk_code_text(out.rc)) : DBK_OK;
    if (rc == DBK_OK && fwrite(out.data, 1, out.size, stdout) < out.size)
        rc = dbk_error_set(err, DBK_EIO, "standard output cannot be written");
    dbk_buf_release(&out);
    return rc;
}

int dbk_run_schema_infer(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_link *link = NULL;
    bool all = dbk_arguments_has(arguments, "all");
    const char *name = all ? NULL : arguments->positional[0];
    if (all == (arguments->positional_count > 0))
        return dbk_fail_usage(arguments, "schema infer takes TYPE, or --all");
    struct inferring inferring = {.json = dbk_json_create(DATA_SIZE_MAX),
                                  .types = dbk_alloc_zero(TYPES_MAX, sizeof(struct type))};
    dbk_progress_begin(&inferring.progress, "reading", "events");
    int rc = inferring.json == NULL || inferring.types == NULL
                 ? dbk_error_set(&err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_link_open_beside(arguments, DBK_ENGINE_READ, &link, &err);
    if (rc == DBK_OK) {
        inferring.engine = dbk_link_engine(link);
        rc = read_events(&inferring, name, &err);
    }
    if (rc == DBK_OK && !all && inferring.count == 0)
        rc =
            dbk_error_set(&err, DBK_ENOTFOUND, "there is no event of type %s with JSON data", name);
    if (rc == DBK_OK)
        rc = print(&inferring, all, &err);
    for (size_t i = 0; i < inferring.count; i++) {
        dbk_free(inferring.types[i].name);
        dbk_inference_free(inferring.types[i].inference);
    }
    dbk_free(inferring.types);
    dbk_json_free(inferring.json);
    dbk_link_free(link);
    return rc < 0 ? dbk_fail(arguments, &err) : DBK_EXIT_OK;
}
