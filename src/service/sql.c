/* SPDX-License-Identifier: Apache-2.0 */
#include "service/sql.h"

#include <ctype.h>
#include <pg_query.h>
#include <strings.h>

#include "target/target.h"

#define TREE_SIZE_MAX ((size_t)64 << 20)

static bool is_word(char byte)
{
    return isalnum((unsigned char)byte) != 0 || byte == '_' || ((unsigned char)byte & 0x80) != 0;
}

int dbk_service_bound(struct dbk_slice text, struct dbk_error *err)
{
    size_t words = 0;
    if (text.size > DBK_SERVICE_SQL_SIZE_MAX)
        return dbk_error_set(err, DBK_ELIMIT,
                             "the SQL has %zu bytes, at most %zu are read: split it", text.size,
                             DBK_SERVICE_SQL_SIZE_MAX);
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i];
        if (byte == '\0')
            return dbk_error_set(err, DBK_ELIMIT, "the SQL has a NUL byte");
        if (isspace((unsigned char)byte) == 0 &&
            (!is_word(byte) || i == 0 || !is_word(text.data[i - 1])))
            words++;
    }
    return words <= DBK_SERVICE_SQL_WORDS_MAX
               ? DBK_OK
               : dbk_error_set(err, DBK_ELIMIT,
                               "the SQL has %zu words and signs, at most %d are read: split it",
                               words, DBK_SERVICE_SQL_WORDS_MAX);
}

struct dbk_json *dbk_service_json(void)
{
    return dbk_json_create(TREE_SIZE_MAX);
}

char *dbk_service_copy(struct dbk_slice text)
{
    char *copy = dbk_copy_text(text);
    for (size_t at = 0; copy != NULL && at < text.size;) {
        struct dbk_sql_token token = dbk_sql_next(text, at);
        if (token.text.size == 0)
            break;
        if (token.kind == DBK_SQL_PARAMETER) {
            memset(copy + at, ' ', token.text.size);
            copy[at] = '$';
            copy[at + 1] = '1';
        } else if (token.kind == DBK_SQL_OTHER && *token.text.data == '?' && at + 1 < text.size &&
                   isdigit((unsigned char)text.data[at + 1]) != 0) {
            copy[at] = '$';
        }
        at += token.text.size;
    }
    return copy;
}

/* Positions in PostgreSQL's errors count characters. */
static size_t place_of(struct dbk_slice text, int cursor)
{
    size_t place = 0;
    for (int i = 1; i < cursor && place < text.size; i++) {
        place++;
        while (place < text.size && ((unsigned char)text.data[place] & 0xc0) == 0x80)
            place++;
    }
    return place;
}

int dbk_service_parse(struct dbk_json *json, struct dbk_slice text,
                      const struct dbk_json_node **root_out, size_t *offset_out,
                      struct dbk_error *err)
{
    struct dbk_error failure = {0};
    *offset_out = 0;
    int rc = dbk_service_bound(text, err);
    if (rc < 0)
        return rc;
    char *copy = dbk_service_copy(text);
    if (copy == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory parsing SQL");
    PgQueryParseResult result = pg_query_parse(copy);
    if (result.error != NULL) {
        *offset_out = place_of(text, result.error->cursorpos);
        rc = dbk_error_set(err, DBK_EINVAL, "%s", result.error->message);
    } else {
        rc = dbk_json_parse(json, dbk_slice_of(result.parse_tree), root_out, &failure);
        if (rc == DBK_ENOMEM)
            rc = dbk_error_set(err, rc, "out of memory parsing SQL");
        else if (rc < 0) /* The text is libpg_query's own. */
            rc = dbk_error_set(err, DBK_ELIMIT, "the SQL is nested too deeply");
    }
    pg_query_free_parse_result(result);
    dbk_free(copy);
    return rc;
}

const struct dbk_json_node *dbk_service_statement(const struct dbk_json_node *item)
{
    const struct dbk_json_node *holder = dbk_json_member(item, "stmt");
    return holder == NULL ? NULL : dbk_json_first(holder);
}

struct dbk_slice dbk_service_text(const struct dbk_json_node *node, const char *key)
{
    const struct dbk_json_node *member = node == NULL ? NULL : dbk_json_member(node, key);
    return member == NULL || member->kind != DBK_JSON_STRING ? (struct dbk_slice){0} : member->text;
}

struct dbk_slice dbk_service_string(const struct dbk_json_node *node)
{
    return dbk_service_text(node == NULL ? NULL : dbk_json_member(node, "String"), "sval");
}

bool dbk_service_is_true(const struct dbk_json_node *node, const char *key)
{
    const struct dbk_json_node *member = node == NULL ? NULL : dbk_json_member(node, key);
    return member != NULL && member->kind == DBK_JSON_TRUE;
}

bool dbk_service_is_name(struct dbk_slice name, const char *other)
{
    return name.size == strlen(other) && strncasecmp(name.data, other, name.size) == 0;
}

int dbk_uses_add(struct dbk_uses *uses, struct dbk_slice table, struct dbk_slice column,
                 unsigned flags)
{
    for (size_t i = 0; i < uses->count; i++) {
        struct dbk_use *use = &uses->items[i];
        if (dbk_service_is_name(table, use->table) && dbk_service_is_name(column, use->column) &&
            (use->flags & DBK_USE_POSSIBLE) == (flags & DBK_USE_POSSIBLE)) {
            use->flags |= flags;
            return DBK_OK;
        }
    }
    if (uses->count == uses->capacity) {
        size_t capacity = uses->capacity == 0 ? 16 : uses->capacity * 2;
        struct dbk_use *items = dbk_arena_alloc_zero(uses->arena, capacity, sizeof(*items));
        if (items == NULL)
            return DBK_ENOMEM;
        for (size_t i = 0; i < uses->count; i++)
            items[i] = uses->items[i];
        uses->items = items;
        uses->capacity = capacity;
    }
    struct dbk_use use = {dbk_arena_copy(uses->arena, table).data,
                          dbk_arena_copy(uses->arena, column).data, flags};
    if (use.table == NULL || use.column == NULL)
        return DBK_ENOMEM;
    uses->items[uses->count++] = use;
    return DBK_OK;
}
