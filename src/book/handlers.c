/* SPDX-License-Identifier: Apache-2.0 */
#include "book/handlers.h"

#include <strings.h>

#include "base/fault.h"

#define TYPES_MAX 64

struct section {
    struct dbk_slice types[TYPES_MAX];
    size_t type_count;
    size_t begin; /* of its SQL */
};

struct parser {
    const char *file;
    struct dbk_slice text;
    struct dbk_handler_list *list;
    struct dbk_diagnostics *diagnostics;
    struct section section;
    bool open;     /* a section has begun */
    bool reported; /* SQL before the first section was */
};

enum dbk_dialect dbk_book_language(const char *file)
{
    const char *dot = strrchr(file, '.');
    if (dot != NULL && strcmp(dot, ".cypher") == 0)
        return DBK_DIALECT_CYPHER;
    return dot != NULL && strcmp(dot, ".json") == 0 ? DBK_DIALECT_MONGODB : DBK_DIALECT_SQLITE;
}

const char *dbk_book_ending(enum dbk_dialect dialect)
{
    return dialect == DBK_DIALECT_CYPHER    ? ".cypher"
           : dialect == DBK_DIALECT_MONGODB ? ".json"
                                            : ".sql";
}

const char *dbk_book_language_name(enum dbk_dialect dialect)
{
    return dialect == DBK_DIALECT_CYPHER    ? "Cypher"
           : dialect == DBK_DIALECT_MONGODB ? "MongoDB's commands"
                                            : "SQL";
}

bool dbk_book_speaks(const char *file, const char *address)
{
    enum dbk_dialect own = dbk_book_language(file);
    enum dbk_dialect wanted = dbk_target_dialect(address);
    return dbk_dialect_is_sql(wanted) ? dbk_dialect_is_sql(own) : own == wanted;
}

int dbk_handler_list_add(struct dbk_handler_list *list, const struct dbk_handler *handler)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 8 : list->capacity * 2;
        struct dbk_handler *items = dbk_arena_alloc(list->arena, capacity * sizeof(*items));
        if (items == NULL)
            return DBK_ENOMEM;
        for (size_t i = 0; i < list->count; i++)
            items[i] = list->items[i];
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = *handler;
    return DBK_OK;
}

static int fault_at(struct parser *parser, size_t offset, struct dbk_fault fault, const char *what)
{
    fault.file = parser->file;
    dbk_fault_place(&fault, parser->text, offset);
    return dbk_fault_add(parser->diagnostics, &fault, "%s", what);
}

int dbk_handlers_check_sql(const char *file, unsigned line, struct dbk_slice sql,
                           struct dbk_diagnostics *diagnostics)
{
    size_t behind = 0;
    if (dbk_text_statement(dbk_book_language(file), sql, 0, &behind).size > 0)
        return DBK_OK;
    const struct dbk_fault fault = {.file = file,
                                    .line = line,
                                    .column = 1,
                                    .why = "the event would change nothing",
                                    .fix = "write one, or remove the handler"};
    return dbk_fault_add(diagnostics, &fault, "the handler has no statement");
}

/* The section's SQL ends at an offset: a handler for each of its types. */
static int close_section(struct parser *parser, size_t end)
{
    const struct section *section = &parser->section;
    struct dbk_fault place = {0};
    if (!parser->open)
        return DBK_OK;
    dbk_fault_place(&place, parser->text, section->begin);
    struct dbk_handler handler = {
        .file = parser->file,
        .line = place.line,
        .sql = dbk_slice(parser->text.data + section->begin, end - section->begin)};
    int rc = dbk_handlers_check_sql(parser->file, place.line, handler.sql, parser->diagnostics);
    for (size_t i = 0; i < section->type_count && rc == DBK_OK; i++) {
        handler.type = section->types[i];
        rc = dbk_handler_list_add(parser->list, &handler);
    }
    return rc;
}

static struct dbk_slice trim(struct dbk_slice text)
{
    while (text.size > 0 && strchr(" \t\r", text.data[0]) != NULL)
        text = dbk_slice(text.data + 1, text.size - 1);
    while (text.size > 0 && strchr(" \t\r", text.data[text.size - 1]) != NULL)
        text.size--;
    return text;
}

/* An event type may be any text; in a list it has no white space. */
static bool is_type(struct dbk_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((unsigned char)text.data[i] <= ' ' || text.data[i] == ';')
            return false;
    }
    return text.size > 0 && text.size <= DBK_TYPE_SIZE_MAX;
}

static int take_type(struct parser *parser, struct dbk_slice type)
{
    struct section *section = &parser->section;
    size_t offset = (size_t)(type.data - parser->text.data);
    if (!is_type(type))
        return fault_at(parser, offset,
                        (struct dbk_fault){.fix = "write `-- on: OrderPlaced, OrderCancelled`"},
                        type.size == 0 ? "an event type is missing" : "this is no event type");
    if (section->type_count == TYPES_MAX)
        return fault_at(parser, offset, (struct dbk_fault){.fix = "begin another section"},
                        "the section names more than 64 event types");
    section->types[section->type_count++] = type;
    return DBK_OK;
}

static int take_types(struct parser *parser, struct dbk_slice names)
{
    int rc = DBK_OK;
    for (;;) {
        const char *comma = names.size == 0 ? NULL : memchr(names.data, ',', names.size);
        size_t size = comma == NULL ? names.size : (size_t)(comma - names.data);
        rc = take_type(parser, trim(dbk_slice(names.data, size)));
        if (rc < 0 || comma == NULL)
            return rc;
        names = dbk_slice(comma + 1, names.size - size - 1);
    }
}

/* A comment that stands alone in its line, from its two dashes to the line's end. */
static int take_comment(struct parser *parser, struct dbk_slice comment)
{
    size_t offset = (size_t)(comment.data - parser->text.data);
    struct dbk_slice text = trim(dbk_slice(comment.data + 2, comment.size - 2));
    bool begins = text.size >= 2 && strncasecmp(text.data, "on", 2) == 0;
    struct dbk_slice rest = begins ? dbk_slice(text.data + 2, text.size - 2) : text;
    while (begins && rest.size > 0 && (rest.data[0] == ' ' || rest.data[0] == '\t'))
        rest = dbk_slice(rest.data + 1, rest.size - 1);
    if (!begins || rest.size == 0 || rest.data[0] != ':')
        return DBK_OK;
    if (!dbk_slice_starts_with(text, DBK_SLICE_LITERAL("on:")))
        return fault_at(parser, offset, (struct dbk_fault){.fix = "did you mean `-- on:`?"},
                        "this begins no section");
    int rc = close_section(parser, offset);
    parser->open = true;
    parser->section.type_count = 0;
    parser->section.begin = offset + comment.size;
    if (parser->section.begin < parser->text.size)
        parser->section.begin++; /* The line's end. */
    return rc < 0 ? rc : take_types(parser, dbk_slice(rest.data + 1, rest.size - 1));
}

/* True when only blanks stand before an offset in its line. */
static bool begins_line(struct dbk_slice text, size_t offset)
{
    while (offset > 0 && (text.data[offset - 1] == ' ' || text.data[offset - 1] == '\t'))
        offset--;
    return offset == 0 || text.data[offset - 1] == '\n';
}

/* White space and comments, which one token may have several of. */
static int take_space(struct parser *parser, size_t offset, size_t end)
{
    struct dbk_slice text = parser->text;
    int rc = DBK_OK;
    while (offset < end && rc == DBK_OK) {
        size_t size = 1;
        struct dbk_slice rest = dbk_slice(text.data + offset, end - offset);
        if (dbk_slice_starts_with(rest, DBK_SLICE_LITERAL("--"))) {
            const char *line_end = memchr(rest.data, '\n', rest.size);
            size = line_end == NULL ? rest.size : (size_t)(line_end - rest.data);
            if (begins_line(text, offset))
                rc = take_comment(parser, dbk_slice(rest.data, size));
        } else if (dbk_slice_starts_with(rest, DBK_SLICE_LITERAL("/*"))) {
            const char *close =
                rest.size < 4 ? NULL : memmem(rest.data + 2, rest.size - 2, "*/", 2);
            size = close == NULL ? rest.size : (size_t)(close - rest.data) + 2;
        }
        offset += size;
    }
    return rc;
}

static int take_token(struct parser *parser, struct dbk_sql_token token, size_t offset)
{
    if (token.kind == DBK_SQL_SPACE)
        return take_space(parser, offset, offset + token.text.size);
    if (token.kind == DBK_SQL_BROKEN)
        return fault_at(parser, offset, (struct dbk_fault){.fix = "close it"},
                        "a string, comment or quoted name does not end");
    if (parser->open || parser->reported)
        return DBK_OK;
    parser->reported = true;
    return fault_at(parser, offset,
                    (struct dbk_fault){.why = "it is not known which event it handles",
                                       .fix = "begin with `-- on: <event type>`"},
                    "a statement stands before the first `-- on:`");
}

int dbk_handlers_parse(const char *file, struct dbk_slice text, struct dbk_handler_list *list,
                       struct dbk_diagnostics *diagnostics)
{
    struct parser parser = {.file = file, .text = text, .list = list, .diagnostics = diagnostics};
    size_t offset = 0;
    int rc = DBK_OK;
    while (offset < text.size && rc == DBK_OK) {
        struct dbk_sql_token token = dbk_sql_next(text, offset);
        if (token.kind == DBK_SQL_END)
            break;
        rc = take_token(&parser, token, offset);
        if (rc < 0 || token.kind == DBK_SQL_BROKEN)
            return rc;
        offset += token.text.size;
    }
    if (rc == DBK_OK && !parser.open && !parser.reported)
        rc = fault_at(&parser, 0, (struct dbk_fault){.fix = "begin with `-- on: <event type>`"},
                      "the file holds no handlers");
    return rc < 0 ? rc : close_section(&parser, text.size);
}
