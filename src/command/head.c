/* SPDX-License-Identifier: Apache-2.0 */
#include "command/head.h"

#include <ctype.h>
#include <strings.h>

#include "base/fault.h"

#define REFUSAL_SIZE_MAX 63

/* Each "-- " of a text is the file's own mark of a comment. */
static const char *marked(const struct dbk_command_reading *reading, const char *fix)
{
    if (fix == NULL || strcmp(reading->mark, "--") == 0)
        return fix;
    char *copy = (char *)(uintptr_t)dbk_arena_copy(reading->arena, dbk_slice_of(fix)).data;
    for (char *at = copy; at != NULL && (at = strstr(at, "-- ")) != NULL; at++)
        memcpy(at, reading->mark, 2);
    return copy == NULL ? fix : copy;
}

int dbk_command_fault_at(struct dbk_command_reading *reading, size_t offset, const char *fix,
                         const char *what)
{
    struct dbk_fault fault = {.file = reading->file, .fix = marked(reading, fix)};
    dbk_fault_place(&fault, reading->text, offset);
    return dbk_fault_add(reading->faults, &fault, "%s", what);
}

size_t dbk_command_offset_of(const struct dbk_command_reading *reading, struct dbk_slice part)
{
    return (size_t)(part.data - reading->text.data);
}

static struct dbk_slice trim(struct dbk_slice text)
{
    while (text.size > 0 && isspace((unsigned char)text.data[0]))
        text = dbk_slice(text.data + 1, text.size - 1);
    while (text.size > 0 && isspace((unsigned char)text.data[text.size - 1]))
        text.size--;
    return text;
}

/* The text up to a byte, or all of it; what stands behind the byte is left. */
static struct dbk_slice cut(struct dbk_slice *text, char at)
{
    const char *end = text->size == 0 ? NULL : memchr(text->data, at, text->size);
    size_t size = end == NULL ? text->size : (size_t)(end - text->data);
    struct dbk_slice part = dbk_slice(text->data, size);
    size_t taken = end == NULL ? size : size + 1;
    *text = dbk_slice(text->data + taken, text->size - taken);
    return trim(part);
}

/* The next word; empty at the end. */
static struct dbk_slice word(struct dbk_slice *text)
{
    *text = trim(*text);
    size_t size = 0;
    while (size < text->size && !isspace((unsigned char)text->data[size]))
        size++;
    struct dbk_slice found = dbk_slice(text->data, size);
    *text = trim(dbk_slice(text->data + size, text->size - size));
    return found;
}

/* ---- Heads ---- */

static bool type_of(struct dbk_slice name, enum dbk_command_type *type_out)
{
    static const char *const names[] = {
        [DBK_COMMAND_TEXT] = "text",     [DBK_COMMAND_INTEGER] = "integer",
        [DBK_COMMAND_NUMBER] = "number", [DBK_COMMAND_BOOLEAN] = "boolean",
        [DBK_COMMAND_JSON] = "json",
    };
    for (size_t i = DBK_COMMAND_TEXT; i < sizeof(names) / sizeof(names[0]); i++) {
        if (dbk_slice_equal_text(name, names[i])) {
            *type_out = (enum dbk_command_type)i;
            return true;
        }
    }
    return false;
}

/* The parameter's index; parameter_count where there is none. */
size_t dbk_command_find_parameter(const struct dbk_command_reading *reading, struct dbk_slice name)
{
    size_t i = 0;
    while (i < reading->command->parameter_count &&
           !dbk_slice_equal_text(name, reading->parameters[i].name))
        i++;
    return i;
}

static int add_parameter(struct dbk_command_reading *reading,
                         const struct dbk_command_parameter *parameter, size_t offset)
{
    if (reading->command->parameter_count == DBK_COMMAND_PARAMETERS_MAX)
        return dbk_command_fault_at(reading, offset, NULL,
                                    "the command has more than 200 parameters");
    reading->parameters[reading->command->parameter_count++] = *parameter;
    return DBK_OK;
}

/* "author integer", "picture text?" */
static int take_declaration(struct dbk_command_reading *reading, struct dbk_slice declaration)
{
    static const char fix[] = "write `-- parameters: author integer, picture text?`";
    struct dbk_command_parameter parameter = {0};
    struct dbk_slice rest = declaration;
    struct dbk_slice name = word(&rest);
    struct dbk_slice type = word(&rest);
    size_t offset = dbk_command_offset_of(reading, declaration);
    if (!dbk_fault_is_name(name) || name.data[0] == '_' || rest.size > 0)
        return dbk_command_fault_at(reading, offset, fix, "this is no parameter with its type");
    if (type.size > 0 && type.data[type.size - 1] == '?') {
        parameter.optional = true;
        type.size--;
    }
    if (!type_of(type, &parameter.type))
        return dbk_command_fault_at(
            reading, offset,
            "types are text, integer, number, boolean and json; with `?` it may be "
            "missing",
            "the parameter has no type that is known");
    if (dbk_command_find_parameter(reading, name) < reading->command->parameter_count)
        return dbk_command_fault_at(reading, offset, "name it once",
                                    "the parameter is there twice");
    parameter.name = dbk_arena_copy(reading->arena, name).data;
    return parameter.name == NULL ? DBK_ENOMEM : add_parameter(reading, &parameter, offset);
}

static int take_declarations(struct dbk_command_reading *reading, struct dbk_slice list)
{
    int rc = DBK_OK;
    reading->declared = true;
    while (rc == DBK_OK && list.size > 0)
        rc = take_declaration(reading, cut(&list, ','));
    return rc;
}

static bool is_code(struct dbk_slice code)
{
    for (size_t i = 0; i < code.size; i++) {
        if (!isalnum((unsigned char)code.data[i]) && code.data[i] != '-' && code.data[i] != '_')
            return false;
    }
    return code.size > 0 && code.size <= REFUSAL_SIZE_MAX;
}

/* "else no-such-user: there is no such user" */
static int take_refusal(struct dbk_command_reading *reading, struct dbk_slice rest, const char *fix)
{
    struct dbk_slice whole = rest;
    struct dbk_slice keyword = word(&rest);
    struct dbk_slice code = cut(&rest, ':');
    rest = trim(rest);
    if (!dbk_slice_equal_text(keyword, "else") || !is_code(code))
        return dbk_command_fault_at(reading, dbk_command_offset_of(reading, whole), fix,
                                    "what is said when it is otherwise cannot be read");
    reading->expected.refusal = dbk_arena_copy(reading->arena, code).data;
    reading->expected.text = rest.size == 0 ? NULL : dbk_arena_copy(reading->arena, rest).data;
    return reading->expected.refusal == NULL || (rest.size > 0 && reading->expected.text == NULL)
               ? DBK_ENOMEM
               : DBK_OK;
}

/* "1 row", "at least 1 row", "0 rows, else taken: the name is taken" */
static int take_expectation(struct dbk_command_reading *reading, struct dbk_slice text)
{
    static const char rows[] = "write `-- expect: 1 row`, `-- expect: at least 1 row`, or "
                               "`-- expect: 1 row, else no-such-user: there is no such user`";
    static const char documents[] = "write `-- expect: 1 document`, or `-- expect: 1 document, "
                                    "else sold-out: there is none left`";
    bool is_row = strcmp(reading->unit, "row") == 0;
    const char *fix = is_row ? rows : documents;
    struct dbk_slice rest = text;
    struct dbk_slice head = cut(&rest, ',');
    bool more = rest.size > 0 || (text.size > 0 && text.data[text.size - 1] == ',');
    struct dbk_slice first = word(&head);
    struct dbk_command_expectation expected = {.kind = DBK_ROWS_EXACTLY,
                                               .offset = dbk_command_offset_of(reading, text)};
    if (reading->expected.kind != DBK_ROWS_ANY)
        return dbk_command_fault_at(reading, expected.offset, "write one line before a statement",
                                    "two expectations are of one statement");
    if (dbk_slice_equal_text(first, "at") && dbk_slice_equal_text(word(&head), "least")) {
        expected.kind = DBK_ROWS_AT_LEAST;
        first = word(&head);
    }
    bool counted = dbk_slice_to_u64(first, &expected.rows) &&
                   (is_row ? dbk_slice_equal_text(head, "row") || dbk_slice_equal_text(head, "rows")
                           : dbk_slice_equal_text(head, "document") && expected.rows == 1 &&
                                 expected.kind == DBK_ROWS_EXACTLY);
    if (!counted)
        return dbk_command_fault_at(reading, expected.offset, fix,
                                    is_row ? "this is no number of rows"
                                           : "a command changes one document");
    reading->expected = expected;
    return more ? take_refusal(reading, trim(rest), fix) : DBK_OK;
}

/* True when only blanks stand before an offset in its line. */
static bool begins_line(struct dbk_slice text, size_t offset)
{
    while (offset > 0 && (text.data[offset - 1] == ' ' || text.data[offset - 1] == '\t'))
        offset--;
    return offset == 0 || text.data[offset - 1] == '\n';
}

/* What a comment begins with: 0: nothing that is read; else the bytes of the key. */
static size_t key_size(struct dbk_slice comment, const char *key)
{
    size_t size = strlen(key);
    bool is = comment.size > size && strncasecmp(comment.data, key, size) == 0 &&
              (comment.data[size] == ':' || isspace((unsigned char)comment.data[size]) ||
               comment.data[size] == 's' || comment.data[size] == 'e');
    return is ? size : 0;
}

/* A comment of a line, from its dashes on. */
int dbk_command_take_comment(struct dbk_command_reading *reading, size_t offset,
                             struct dbk_slice token, enum dbk_command_place place)
{
    static const char *const keys[] = {"service", "parameters", "expect"};
    struct dbk_slice comment = trim(dbk_slice(token.data + 2, token.size - 2));
    size_t which = 0;
    while (which < 3 && key_size(comment, keys[which]) == 0)
        which++;
    if (which == 3)
        return DBK_OK;
    size_t size = strlen(keys[which]);
    bool exact = memcmp(comment.data, keys[which], size) == 0 && comment.data[size] == ':';
    struct dbk_slice value = trim(dbk_slice(comment.data + size + 1, comment.size - size - 1));
    /* Of the heads only what looks like one is meant: words of a sentence may be the same. */
    if (!exact && (which != 2 || memchr(comment.data, ':', comment.size) == NULL))
        return DBK_OK;
    if (!exact)
        return dbk_command_fault_at(reading, offset, "did you mean `-- expect:`?",
                                    "this expects nothing");
    if (place == DBK_COMMAND_INSIDE || !begins_line(reading->text, offset))
        return dbk_command_fault_at(reading, offset,
                                    "give it a line of its own before the statement",
                                    "this is read only before a statement");
    if (which == 2)
        return take_expectation(reading, value);
    if (place != DBK_COMMAND_HEAD)
        return dbk_command_fault_at(reading, offset, "write it before the first statement",
                                    "this belongs to the file's head");
    return which == 0 ? dbk_command_take_services(&reading->named, value)
                      : take_declarations(reading, value);
}

static bool is_own(struct dbk_slice name)
{
    return dbk_slice_equal_text(name, "_id") || dbk_slice_equal_text(name, "_time") ||
           dbk_slice_equal_text(name, "_key") || dbk_slice_equal_text(name, "_meta");
}

/* The parameter a name of a statement means, added where it is new. */
int dbk_command_use_parameter(struct dbk_command_reading *reading, struct dbk_slice name,
                              size_t offset, size_t *index_out)
{
    *index_out = dbk_command_find_parameter(reading, name);
    if (*index_out < reading->command->parameter_count)
        return DBK_OK;
    if (memchr(name.data, '.', name.size) != NULL)
        return dbk_command_fault_at(reading, offset, "write `:name`",
                                    "a command's parameter is a plain `:name`");
    if (name.data[0] == '_' && !is_own(name))
        return dbk_command_fault_at(reading, offset, "there are :_id, :_time, :_key and :_meta",
                                    "this is none of the parameters that every command has");
    if (reading->declared && !is_own(name))
        return dbk_command_fault_at(reading, offset, "add it to the line `-- parameters:`",
                                    "the parameter has no type");
    struct dbk_command_parameter parameter = {.name = dbk_arena_copy(reading->arena, name).data};
    return parameter.name == NULL ? DBK_ENOMEM : add_parameter(reading, &parameter, offset);
}

struct dbk_command_statement dbk_command_begin_statement(struct dbk_command_reading *reading,
                                                         struct dbk_slice part)
{
    struct dbk_fault place = {.file = reading->file};
    const struct dbk_command_expectation *expected = &reading->expected;
    dbk_fault_place(&place, reading->text, dbk_command_offset_of(reading, part));
    const struct dbk_command_statement statement = {.line = place.line,
                                                    .expect = expected->kind,
                                                    .rows = expected->rows,
                                                    .refusal = expected->refusal,
                                                    .text = expected->text};
    reading->expected = (struct dbk_command_expectation){0};
    return statement;
}

/* Rows of statements before the last are nobody's; a declared parameter is used somewhere. */
int dbk_command_check_whole(struct dbk_command_reading *reading)
{
    struct dbk_service_command *command = reading->command;
    int rc = DBK_OK;
    if (reading->expected.kind != DBK_ROWS_ANY)
        rc = dbk_command_fault_at(reading, reading->expected.offset,
                                  "write it before the statement it is of", "no statement follows");
    for (size_t i = 0; i + 1 < command->statement_count; i++)
        reading->statements[i].answers = false;
    for (size_t i = 0; rc == DBK_OK && reading->declared && i < command->parameter_count; i++) {
        bool used = false;
        for (size_t j = 0; j < command->statement_count; j++)
            for (size_t k = 0; k < reading->statements[j].parameter_count; k++)
                used = used || reading->statements[j].parameters[k] == i;
        const struct dbk_fault fault = {
            .file = reading->file, .line = 1, .column = 1, .fix = "remove it, or use it"};
        if (!used && reading->faults->error_count == 0)
            rc =
                dbk_fault_add(reading->faults, &fault, "the parameter `%s` is used by no statement",
                              reading->parameters[i].name);
    }
    return rc;
}
