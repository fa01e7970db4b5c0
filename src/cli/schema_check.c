/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema check: pairs of versions, backward (what fits the older fits the newer) and forward, with
 * each break and who in the book names its field.
 */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/schema_rows.h"

#define MEMORY_MAX ((size_t)256 << 20)

struct checking {
    const struct dbk_arguments *arguments;
    const struct dbk_book *book;
    bool text; /* for people */
    struct dbk_schema_rows rows;
    struct dbk_arena arena; /* of a pair */
    bool backward;          /* required of neighbours */
    bool forward;
    bool failed;
};

struct direction {
    const char *name;
    const struct dbk_schema *asked; /* the version that asks for more */
    const struct dbk_schema_break *breaks;
    size_t count;
    bool holds;
};

/* ---- As rows ---- */

struct listing {
    struct dbk_buf *out;
    bool text;
    bool first;
};

static int put_user(void *context, const char *kind, const char *file, unsigned line)
{
    struct listing *listing = context;
    bool first = true;
    if (listing->text) {
        dbk_buf_append_format(listing->out, "            %s:%u (%s)\n", file, line, kind);
        return listing->out->rc;
    }
    dbk_buf_append_text(listing->out, listing->first ? "{" : ",{");
    listing->first = false;
    dbk_json_write_key(listing->out, &first, "kind");
    dbk_json_write_string(listing->out, dbk_slice_of(kind));
    dbk_json_write_key(listing->out, &first, "file");
    dbk_json_write_string(listing->out, dbk_slice_of(file));
    dbk_json_write_key(listing->out, &first, "line");
    dbk_json_write_u64(listing->out, line);
    dbk_buf_append_char(listing->out, '}');
    return listing->out->rc;
}

static int put_users(struct checking *checking, const struct direction *direction,
                     const struct dbk_schema_break *item, struct dbk_buf *out)
{
    struct listing listing = {.out = out, .text = checking->text, .first = true};
    const struct dbk_schema *newest =
        dbk_schemas_newest(checking->book->schemas, dbk_schema_type(direction->asked));
    return item->field.size == 0
               ? DBK_OK
               : dbk_schema_users(checking->book, newest, item->field, put_user, &listing);
}

static int put_break(struct checking *checking, const struct direction *direction,
                     const struct dbk_schema_break *item, bool first_break)
{
    struct dbk_buf *out = &checking->rows.row;
    bool first = true;
    dbk_buf_append_text(out, first_break ? "{" : ",{");
    dbk_json_write_key(out, &first, "direction");
    dbk_json_write_string(out, dbk_slice_of(direction->name));
    dbk_json_write_key(out, &first, "path");
    dbk_json_write_string(out, dbk_slice_of(item->path));
    dbk_json_write_key(out, &first, "keyword");
    dbk_json_write_string(out, dbk_slice_of(item->keyword));
    dbk_json_write_key(out, &first, "version");
    dbk_json_write_u64(out, dbk_schema_version(direction->asked));
    dbk_json_write_key(out, &first, "what");
    dbk_json_write_string(out, dbk_slice_of(item->what));
    dbk_json_write_key(out, &first, "named_by");
    dbk_buf_append_char(out, '[');
    int rc = put_users(checking, direction, item, out);
    dbk_buf_append_text(out, "]}");
    return rc;
}

static int put_row(struct checking *checking, const struct dbk_schema *from,
                   const struct dbk_schema *to, const struct direction directions[2],
                   struct dbk_error *err)
{
    struct dbk_buf *out = &checking->rows.row;
    bool first = true;
    bool first_break = true;
    int rc = DBK_OK;
    dbk_buf_append_char(out, '{');
    dbk_json_write_key(out, &first, "type");
    dbk_json_write_string(out, dbk_schema_type(to));
    dbk_json_write_key(out, &first, "from");
    dbk_json_write_u64(out, dbk_schema_version(from));
    dbk_json_write_key(out, &first, "to");
    dbk_json_write_u64(out, dbk_schema_version(to));
    for (size_t i = 0; i < 2; i++) {
        dbk_json_write_key(out, &first, directions[i].name);
        dbk_buf_append_text(out, directions[i].holds ? "true" : "false");
    }
    dbk_json_write_key(out, &first, "full");
    dbk_buf_append_text(out, directions[0].holds && directions[1].holds ? "true" : "false");
    dbk_json_write_key(out, &first, "breaks");
    dbk_buf_append_char(out, '[');
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < directions[i].count && rc >= 0; j++) {
            rc = put_break(checking, &directions[i], &directions[i].breaks[j], first_break);
            first_break = false;
        }
    }
    dbk_buf_append_text(out, "]}");
    return rc < 0 ? dbk_error_set(err, rc, "a row: %s", dbk_code_text(rc))
                  : dbk_schema_rows_put(&checking->rows, err);
}

/* ---- For people ---- */

static int print_pair(struct checking *checking, const struct dbk_schema *from,
                      const struct dbk_schema *to, const struct direction directions[2],
                      struct dbk_error *err)
{
    struct dbk_buf *out = &checking->rows.row;
    bool backward = directions[0].holds;
    bool forward = directions[1].holds;
    int rc = DBK_OK;
    dbk_buf_append_format(out, "%.*s %u to %u: %s\n", DBK_SLICE_ARGS(dbk_schema_type(to)),
                          (unsigned)dbk_schema_version(from), (unsigned)dbk_schema_version(to),
                          backward && forward ? "fully compatible"
                          : backward          ? "backward compatible, not forward"
                          : forward           ? "forward compatible, not backward"
                                              : "neither backward nor forward compatible");
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < directions[i].count && rc >= 0; j++) {
            const struct dbk_schema_break *item = &directions[i].breaks[j];
            dbk_buf_append_format(out, "  %-8s  %s: version %u %s (%s)\n", directions[i].name,
                                  item->path, (unsigned)dbk_schema_version(directions[i].asked),
                                  item->what, item->keyword);
            rc = put_users(checking, &directions[i], item, out);
        }
    }
    if (rc >= 0)
        rc = out->rc;
    if (rc < 0)
        return dbk_error_set(err, rc, "the answer: %s", dbk_code_text(rc));
    (void)fwrite(out->data, 1, out->size, stdout);
    dbk_buf_reset(out);
    return DBK_OK;
}

/* ---- Pairs ---- */

static int compare(const struct dbk_schema *from, const struct dbk_schema *to,
                   struct dbk_arena *arena, struct direction *direction)
{
    int rc = dbk_schema_covers(from, to, arena, &direction->breaks, &direction->count);
    direction->holds = rc == 1;
    direction->asked = to;
    return rc;
}

static int check_pair(struct checking *checking, struct dbk_slice type, uint16_t from, uint16_t to,
                      struct dbk_error *err)
{
    const struct dbk_schema *older = dbk_schemas_find(checking->book->schemas, type, from);
    const struct dbk_schema *newer = dbk_schemas_find(checking->book->schemas, type, to);
    struct direction directions[2] = {{.name = "backward"}, {.name = "forward"}};
    dbk_arena_reset(&checking->arena);
    int rc = compare(older, newer, &checking->arena, &directions[0]);
    if (rc >= 0)
        rc = compare(newer, older, &checking->arena, &directions[1]);
    if (rc < 0)
        return dbk_error_set(err, rc, "comparing: %s", dbk_code_text(rc));
    if (to == from + 1 && ((checking->backward && !directions[0].holds) ||
                           (checking->forward && !directions[1].holds)))
        checking->failed = true;
    return checking->text ? print_pair(checking, older, newer, directions, err)
                          : put_row(checking, older, newer, directions, err);
}

static int check_type(struct checking *checking, const struct dbk_schema *newest,
                      struct dbk_error *err)
{
    struct dbk_slice type = dbk_schema_type(newest);
    uint16_t last = dbk_schema_version(newest);
    bool all = dbk_arguments_has(checking->arguments, "all");
    int rc = DBK_OK;
    for (uint16_t to = 2; to <= last && rc == DBK_OK; to++) {
        for (uint16_t from = all ? 1 : (uint16_t)(to - 1); from < to && rc == DBK_OK; from++)
            rc = check_pair(checking, type, from, to, err);
    }
    return rc;
}

static int check(struct checking *checking, struct dbk_error *err)
{
    const struct dbk_schema *newest = NULL;
    const char *type = checking->arguments->positional[0];
    int rc = DBK_OK;
    if (checking->arguments->positional_count > 0) {
        rc = dbk_schema_rows_find(checking->book, type, &newest, err);
        return rc < 0 ? rc : check_type(checking, newest, err);
    }
    for (size_t i = 0; rc == DBK_OK && i < dbk_schemas_count(checking->book->schemas); i++)
        rc = check_type(checking, dbk_schemas_at(checking->book->schemas, i), err);
    return rc;
}

int dbk_run_schema_check(const struct dbk_arguments *arguments)
{
    struct dbk_error err = {0};
    struct dbk_place place;
    struct dbk_book *book = NULL;
    const char *required = dbk_arguments_text(arguments, "require");
    struct checking checking = {.arguments = arguments,
                                .text = dbk_output_of(arguments) == DBK_OUTPUT_TABLE};
    checking.backward = required != NULL && strcmp(required, "forward") != 0;
    checking.forward = required != NULL && strcmp(required, "backward") != 0;
    dbk_arena_init(&checking.arena, MEMORY_MAX);
    int rc = dbk_schema_rows_open(arguments, NULL, &checking.rows, &err);
    if (rc == DBK_OK)
        rc = dbk_place_find(arguments, &place, &err);
    if (rc == DBK_OK)
        rc = dbk_place_load(&place, &book, &err);
    checking.book = book;
    if (rc == DBK_OK)
        rc = check(&checking, &err);
    if (rc == DBK_OK && !checking.text)
        rc = dbk_schema_rows_end(&checking.rows, &err);
    dbk_schema_rows_close(&checking.rows);
    dbk_arena_release(&checking.arena);
    dbk_book_free(book);
    if (rc < 0)
        return dbk_fail(arguments, &err);
    return checking.failed ? DBK_EXIT_FAILED : DBK_EXIT_OK;
}
