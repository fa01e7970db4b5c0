/* SPDX-License-Identifier: Apache-2.0 */
/* commands/<Name>.sql, read: its head, its statements, and what is expected of each. */
#include <ctype.h>
#include <strings.h>

#include "base/fault.h"
#include "command/naming.h"
#include "target/target.h"

#define SQL_SIZE_MAX ((size_t)8 << 20)
#define PARAMETERS_MAX 200
#define STATEMENTS_MAX 200
#define REFUSAL_SIZE_MAX 63
#define COUNTED "\nRETURNING 1"

/* What stands before a statement and speaks of it. */
struct expectation {
    enum dbk_command_expect kind;
    uint64_t rows;
    const char *refusal;
    const char *text;
    size_t offset;
};

struct parser {
    const char *file;
    struct dbk_slice text;
    struct dbk_arena *arena;
    struct dbk_diagnostics *faults;
    struct dbk_command_naming named;
    struct dbk_connection *memory; /* SQLite's, that knows no table */
    struct dbk_service_command *command;
    struct dbk_command_parameter *parameters;
    struct dbk_command_statement *statements;
    bool declared; /* there is a `-- parameters:` */
    struct expectation expected;
};

static int fault_at(struct parser *parser, size_t offset, const char *fix, const char *what)
{
    struct dbk_fault fault = {.file = parser->file, .fix = fix};
    dbk_fault_place(&fault, parser->text, offset);
    return dbk_fault_add(parser->faults, &fault, "%s", what);
}

static size_t offset_of(const struct parser *parser, struct dbk_slice part)
{
    return (size_t)(part.data - parser->text.data);
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
static size_t find_parameter(const struct parser *parser, struct dbk_slice name)
{
    size_t i = 0;
    while (i < parser->command->parameter_count &&
           !dbk_slice_equal_text(name, parser->parameters[i].name))
        i++;
    return i;
}

static int add_parameter(struct parser *parser, const struct dbk_command_parameter *parameter,
                         size_t offset)
{
    if (parser->command->parameter_count == PARAMETERS_MAX)
        return fault_at(parser, offset, NULL, "the command has more than 200 parameters");
    parser->parameters[parser->command->parameter_count++] = *parameter;
    return DBK_OK;
}

/* "author integer", "picture text?" */
static int take_declaration(struct parser *parser, struct dbk_slice declaration)
{
    static const char fix[] = "write `-- parameters: author integer, picture text?`";
    struct dbk_command_parameter parameter = {0};
    struct dbk_slice rest = declaration;
    struct dbk_slice name = word(&rest);
    struct dbk_slice type = word(&rest);
    size_t offset = offset_of(parser, declaration);
    if (!dbk_fault_is_name(name) || name.data[0] == '_' || rest.size > 0)
        return fault_at(parser, offset, fix, "this is no parameter with its type");
    if (type.size > 0 && type.data[type.size - 1] == '?') {
        parameter.optional = true;
        type.size--;
    }
    if (!type_of(type, &parameter.type))
        return fault_at(parser, offset,
                        "types are text, integer, number, boolean and json; with `?` it may be "
                        "missing",
                        "the parameter has no type that is known");
    if (find_parameter(parser, name) < parser->command->parameter_count)
        return fault_at(parser, offset, "name it once", "the parameter is there twice");
    parameter.name = dbk_arena_copy(parser->arena, name).data;
    return parameter.name == NULL ? DBK_ENOMEM : add_parameter(parser, &parameter, offset);
}

static int take_declarations(struct parser *parser, struct dbk_slice list)
{
    int rc = DBK_OK;
    parser->declared = true;
    while (rc == DBK_OK && list.size > 0)
        rc = take_declaration(parser, cut(&list, ','));
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
static int take_refusal(struct parser *parser, struct dbk_slice rest, const char *fix)
{
    struct dbk_slice whole = rest;
    struct dbk_slice keyword = word(&rest);
    struct dbk_slice code = cut(&rest, ':');
    rest = trim(rest);
    if (!dbk_slice_equal_text(keyword, "else") || !is_code(code))
        return fault_at(parser, offset_of(parser, whole), fix,
                        "what is said when it is otherwise cannot be read");
    parser->expected.refusal = dbk_arena_copy(parser->arena, code).data;
    parser->expected.text = rest.size == 0 ? NULL : dbk_arena_copy(parser->arena, rest).data;
    return parser->expected.refusal == NULL || (rest.size > 0 && parser->expected.text == NULL)
               ? DBK_ENOMEM
               : DBK_OK;
}

/* "1 row", "at least 1 row", "0 rows, else taken: the name is taken" */
static int take_expectation(struct parser *parser, struct dbk_slice text)
{
    static const char fix[] = "write `-- expect: 1 row`, `-- expect: at least 1 row`, or "
                              "`-- expect: 1 row, else no-such-user: there is no such user`";
    struct dbk_slice rest = text;
    struct dbk_slice head = cut(&rest, ',');
    bool more = rest.size > 0 || (text.size > 0 && text.data[text.size - 1] == ',');
    struct dbk_slice first = word(&head);
    struct expectation expected = {.kind = DBK_ROWS_EXACTLY, .offset = offset_of(parser, text)};
    if (parser->expected.kind != DBK_ROWS_ANY)
        return fault_at(parser, expected.offset, "write one line before a statement",
                        "two expectations are of one statement");
    if (dbk_slice_equal_text(first, "at") && dbk_slice_equal_text(word(&head), "least")) {
        expected.kind = DBK_ROWS_AT_LEAST;
        first = word(&head);
    }
    bool counted = dbk_slice_to_u64(first, &expected.rows) &&
                   (dbk_slice_equal_text(head, "row") || dbk_slice_equal_text(head, "rows"));
    if (!counted)
        return fault_at(parser, expected.offset, fix, "this is no number of rows");
    parser->expected = expected;
    return more ? take_refusal(parser, trim(rest), fix) : DBK_OK;
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

enum place { PLACE_HEAD, PLACE_BETWEEN, PLACE_INSIDE };

/* A comment of a line, from its dashes on. */
static int take_comment(struct parser *parser, size_t offset, struct dbk_slice token,
                        enum place place)
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
        return fault_at(parser, offset, "did you mean `-- expect:`?", "this expects nothing");
    if (place == PLACE_INSIDE || !begins_line(parser->text, offset))
        return fault_at(parser, offset, "give it a line of its own before the statement",
                        "this is read only before a statement");
    if (which == 2)
        return take_expectation(parser, value);
    if (place != PLACE_HEAD)
        return fault_at(parser, offset, "write it before the first statement",
                        "this belongs to the file's head");
    return which == 0 ? dbk_command_take_services(&parser->named, value)
                      : take_declarations(parser, value);
}

/* Comments of a part of the file. */
static int take_comments(struct parser *parser, size_t begin, size_t end, enum place place)
{
    int rc = DBK_OK;
    while (rc == DBK_OK && begin < end) {
        struct dbk_sql_token token = dbk_sql_next(parser->text, begin);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            break;
        if (token.kind == DBK_SQL_SPACE && token.text.size >= 2 && token.text.data[0] == '-')
            rc = take_comment(parser, begin, token.text, place);
        begin += token.text.size;
    }
    return rc;
}

/* ---- Statements ---- */

/* What a statement does: its verb, behind WITH where it begins so, and whether it returns rows. */
struct shape {
    bool reads;   /* SELECT, VALUES */
    bool changes; /* INSERT, REPLACE, UPDATE, DELETE */
    bool returning;
};

static struct shape shape_of(struct dbk_slice sql)
{
    static const char *const reads[] = {"select", "values"};
    static const char *const changes[] = {"insert", "replace", "update", "delete", "merge"};
    struct shape shape = {0};
    bool with = false;
    size_t depth = 0;
    for (size_t offset = 0, names = 0;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return shape;
        offset += token.text.size;
        depth += dbk_slice_equal_text(token.text, "(");
        depth -= depth > 0 && dbk_slice_equal_text(token.text, ")");
        if (token.kind != DBK_SQL_NAME || depth > 0)
            continue;
        bool verb = !shape.reads && !shape.changes && (names == 0 || with);
        with = with || (names == 0 && dbk_sql_name_is(token.text, DBK_SLICE_LITERAL("with")));
        names++;
        for (size_t i = 0; verb && i < sizeof(reads) / sizeof(reads[0]); i++)
            shape.reads = shape.reads || dbk_sql_name_is(token.text, dbk_slice_of(reads[i]));
        for (size_t i = 0; verb && i < sizeof(changes) / sizeof(changes[0]); i++)
            shape.changes = shape.changes || dbk_sql_name_is(token.text, dbk_slice_of(changes[i]));
        shape.returning =
            shape.returning || dbk_sql_name_is(token.text, DBK_SLICE_LITERAL("returning"));
    }
}

static bool is_own(struct dbk_slice name)
{
    return dbk_slice_equal_text(name, "_id") || dbk_slice_equal_text(name, "_time") ||
           dbk_slice_equal_text(name, "_key") || dbk_slice_equal_text(name, "_meta");
}

/* The parameter a name of a statement means, added where it is new. */
static int use_parameter(struct parser *parser, struct dbk_slice name, size_t offset,
                         size_t *index_out)
{
    *index_out = find_parameter(parser, name);
    if (*index_out < parser->command->parameter_count)
        return DBK_OK;
    if (memchr(name.data, '.', name.size) != NULL)
        return fault_at(parser, offset, "write `:name`",
                        "a command's parameter is a plain `:name`");
    if (name.data[0] == '_' && !is_own(name))
        return fault_at(parser, offset, "there are :_id, :_time, :_key and :_meta",
                        "this is none of the parameters that every command has");
    if (parser->declared && !is_own(name))
        return fault_at(parser, offset, "add it to the line `-- parameters:`",
                        "the parameter has no type");
    struct dbk_command_parameter parameter = {.name = dbk_arena_copy(parser->arena, name).data};
    return parameter.name == NULL ? DBK_ENOMEM : add_parameter(parser, &parameter, offset);
}

/* Only `:name` can be given; each is used where it stands first. */
static int check_tokens(struct parser *parser, struct dbk_slice sql)
{
    size_t begin = offset_of(parser, sql);
    int rc = DBK_OK;
    for (size_t offset = 0; rc == DBK_OK;) {
        size_t index = 0;
        struct dbk_sql_token token = dbk_sql_next(sql, offset);
        if (token.kind == DBK_SQL_END)
            return DBK_OK;
        if (token.kind == DBK_SQL_BROKEN)
            return fault_at(parser, begin + offset, "close it",
                            "a string, comment or quoted name does not end");
        if (token.kind == DBK_SQL_OTHER && strchr("?@$", token.text.data[0]) != NULL)
            rc = fault_at(parser, begin + offset, "write `:name`",
                          "a command's parameter is a plain `:name`");
        if (token.kind == DBK_SQL_PARAMETER)
            rc = use_parameter(parser, dbk_slice(token.text.data + 1, token.text.size - 1),
                               begin + offset, &index);
        offset += token.text.size;
    }
    return rc;
}

/* Where a byte of the statement with ?1 … ?n stands in the file's. */
static size_t original_offset(struct dbk_slice sql, const struct dbk_slice *names, size_t count,
                              size_t offset)
{
    size_t written = 0;
    size_t at = 0;
    for (;;) {
        struct dbk_sql_token token = dbk_sql_next(sql, at);
        size_t size = token.text.size;
        if (token.kind == DBK_SQL_END || token.kind == DBK_SQL_BROKEN)
            return at;
        for (size_t i = 0; token.kind == DBK_SQL_PARAMETER && i < count; i++) {
            if (dbk_slice_equal(names[i], dbk_slice(token.text.data + 1, token.text.size - 1)))
                size = i + 1 < 10 ? 2 : i + 1 < 100 ? 3 : 4;
        }
        if (written + size > offset)
            return size == token.text.size ? at + offset - written : at;
        written += size;
        at += token.text.size;
    }
}

/* Whether the database would take it, as far as that can be told without its tables. */
static int prepares(struct parser *parser, struct dbk_slice sql, int *offset_out,
                    struct dbk_error *failure)
{
    static const char no_table[] = "no such table: ";
    struct dbk_statement *statement = NULL;
    const char *address = parser->command->service->address;
    if (dbk_target_dialect(address) != DBK_DIALECT_SQLITE)
        return dbk_target_check(address, sql, DBK_GUARD_COMMAND, offset_out, failure);
    int rc = parser->memory == NULL
                 ? dbk_connection_open("", DBK_CONNECT_MEMORY, &parser->memory, failure)
                 : DBK_OK;
    if (rc < 0)
        return rc;
    dbk_connection_guard(parser->memory, DBK_GUARD_COMMAND);
    rc = dbk_statement_open(parser->memory, sql, &statement, offset_out, failure);
    dbk_statement_free(statement);
    return rc == DBK_EINVAL && strncmp(failure->message, no_table, strlen(no_table)) == 0 ? DBK_OK
                                                                                          : rc;
}

/* The statement as the database gets it, which it is then asked about. */
static int prepare(struct parser *parser, struct dbk_slice sql,
                   struct dbk_command_statement *statement, const struct shape *shape,
                   struct dbk_error *err)
{
    struct dbk_slice *names = NULL;
    struct dbk_buf text;
    struct dbk_error failure = {0};
    size_t count = 0;
    int at = -1;
    dbk_buf_init(&text, SQL_SIZE_MAX);
    int rc = dbk_sql_rewrite(sql, NULL, 0, &text, parser->arena, &names, &count, err);
    if (rc == DBK_OK && statement->expect != DBK_ROWS_ANY && shape->changes && !shape->returning)
        dbk_buf_append_text(&text, COUNTED);
    statement->sql = dbk_arena_copy(parser->arena, dbk_buf_slice(&text));
    size_t *indexes = dbk_arena_alloc_zero(parser->arena, count + 1, sizeof(*indexes));
    if (rc == DBK_OK && (text.rc < 0 || statement->sql.data == NULL || indexes == NULL))
        rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", parser->file);
    for (size_t i = 0; rc == DBK_OK && i < count; i++)
        indexes[i] = find_parameter(parser, names[i]);
    statement->parameters = indexes;
    statement->parameter_count = count;
    if (rc == DBK_OK && parser->command->service != NULL &&
        prepares(parser, statement->sql, &at, &failure) < 0) {
        size_t place = at < 0 ? 0 : original_offset(sql, names, count, (size_t)at);
        if (failure.code == DBK_ENOMEM ||
            fault_at(parser, offset_of(parser, sql) + place, NULL, failure.message) < 0)
            rc = dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", parser->file);
    }
    dbk_buf_release(&text);
    return rc;
}

/* Faults and failures are told apart by err: a fault leaves DBK_OK. */
static int take_statement(struct parser *parser, struct dbk_slice sql, struct dbk_error *err)
{
    struct dbk_fault place = {.file = parser->file};
    size_t errors = parser->faults->error_count;
    size_t offset = offset_of(parser, sql);
    struct shape shape = shape_of(sql);
    struct dbk_command_statement statement = {.expect = parser->expected.kind,
                                              .rows = parser->expected.rows,
                                              .refusal = parser->expected.refusal,
                                              .text = parser->expected.text};
    parser->expected = (struct expectation){0};
    dbk_fault_place(&place, parser->text, offset);
    statement.line = place.line;
    statement.answers = shape.reads || shape.returning;
    int rc = take_comments(parser, offset, offset + sql.size, PLACE_INSIDE);
    if (rc == DBK_OK && !shape.reads && !shape.changes)
        rc = fault_at(parser, offset, "write SELECT, INSERT, UPDATE or DELETE",
                      "a command may not do more than read and change rows");
    if (rc == DBK_OK && parser->command->statement_count == STATEMENTS_MAX)
        rc = fault_at(parser, offset, NULL, "the command has more than 200 statements");
    if (rc == DBK_OK)
        rc = check_tokens(parser, sql);
    if (rc < 0)
        return dbk_error_set(err, rc, "out of memory reading %s", parser->file);
    if (parser->faults->error_count > errors)
        return DBK_OK;
    rc = prepare(parser, sql, &statement, &shape, err);
    if (rc == DBK_OK)
        parser->statements[parser->command->statement_count++] = statement;
    return rc;
}

/* Rows of statements before the last are nobody's; a declared parameter is used somewhere. */
static int check_whole(struct parser *parser)
{
    struct dbk_service_command *command = parser->command;
    int rc = DBK_OK;
    if (parser->expected.kind != DBK_ROWS_ANY)
        rc = fault_at(parser, parser->expected.offset, "write it before the statement it is of",
                      "no statement follows");
    for (size_t i = 0; i + 1 < command->statement_count; i++)
        parser->statements[i].answers = false;
    for (size_t i = 0; rc == DBK_OK && parser->declared && i < command->parameter_count; i++) {
        bool used = false;
        for (size_t j = 0; j < command->statement_count; j++)
            for (size_t k = 0; k < parser->statements[j].parameter_count; k++)
                used = used || parser->statements[j].parameters[k] == i;
        const struct dbk_fault fault = {
            .file = parser->file, .line = 1, .column = 1, .fix = "remove it, or use it"};
        if (!used && parser->faults->error_count == 0)
            rc = dbk_fault_add(parser->faults, &fault, "the parameter `%s` is used by no statement",
                               parser->parameters[i].name);
    }
    return rc;
}

static int parse(struct parser *parser, struct dbk_error *err)
{
    size_t offset = 0;
    size_t count = 0;
    int rc = DBK_OK;
    for (; rc == DBK_OK; count++) {
        size_t behind = 0;
        enum place place = count == 0 ? PLACE_HEAD : PLACE_BETWEEN;
        struct dbk_slice sql = dbk_sql_statement(parser->text, offset, &behind);
        size_t begin = sql.size == 0 ? parser->text.size : offset_of(parser, sql);
        if (take_comments(parser, offset, begin, place) < 0)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", parser->file);
        if (count == 0 && parser->command->service == NULL && parser->faults->error_count == 0 &&
            fault_at(parser, 0, "begin with `-- service: <name of services/<name>.yaml>`",
                     "it is not said whose database the command is of") < 0)
            return dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", parser->file);
        if (sql.size == 0)
            break;
        rc = take_statement(parser, sql, err);
        offset = behind;
    }
    if (rc == DBK_OK && count == 0)
        rc = fault_at(parser, 0, "write one", "the command has no statement");
    if (rc == DBK_OK)
        rc = check_whole(parser);
    return rc;
}

int dbk_service_command_parse(const char *name, const char *file, struct dbk_slice text,
                              const struct dbk_capture_service *services, size_t service_count,
                              struct dbk_arena *arena, struct dbk_diagnostics *faults,
                              struct dbk_service_command *command_out, struct dbk_error *err)
{
    struct parser parser = {.file = file,
                            .text = text,
                            .arena = arena,
                            .faults = faults,
                            .named = {.file = file,
                                      .text = text,
                                      .services = services,
                                      .service_count = service_count,
                                      .arena = arena,
                                      .faults = faults,
                                      .command = command_out},
                            .command = command_out};
    *command_out = (struct dbk_service_command){.name = name, .file = file};
    parser.parameters = dbk_arena_alloc_zero(arena, PARAMETERS_MAX, sizeof(*parser.parameters));
    parser.statements = dbk_arena_alloc_zero(arena, STATEMENTS_MAX, sizeof(*parser.statements));
    int rc = parser.parameters == NULL || parser.statements == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "out of memory reading %s", file)
                 : parse(&parser, err);
    command_out->parameters = parser.parameters;
    command_out->statements = parser.statements;
    dbk_connection_free(parser.memory);
    return rc;
}
