/* SPDX-License-Identifier: Apache-2.0 */
#include "target/neo4j/value.h"

#include <ctype.h>
#include <string.h>

#include "json/json.h"

static const char mark[] = "{\"$forgotten\":\"";
#define MARK_SIZE (sizeof(mark) - 1)
/* A key's id in hexadecimal digits, a quote and a brace. */
#define ID_SIZE ((size_t)32)

/* Where such a mark is; NULL: there is none. In valid JSON no string has its quotes. */
static const char *find_mark(struct dbk_slice json)
{
    const char *end = json.data + json.size;
    const char *at = json.data;
    while ((at = memmem(at, (size_t)(end - at), mark, MARK_SIZE)) != NULL) {
        const char *id = at + MARK_SIZE;
        size_t digits = 0;
        while (digits < ID_SIZE && id + digits < end && isxdigit((unsigned char)id[digits]))
            digits++;
        if (digits == ID_SIZE && end - id >= (ptrdiff_t)ID_SIZE + 2 && id[ID_SIZE] == '"' &&
            id[ID_SIZE + 1] == '}')
            return at;
        at = id;
    }
    return NULL;
}

/* A property is no map: what stands for a forgotten field is a text, as in tables. */
static void put_json(struct dbk_buf *out, struct dbk_slice json)
{
    const char *at = find_mark(json);
    while (at != NULL) {
        size_t before = (size_t)(at - json.data);
        size_t size = MARK_SIZE + ID_SIZE + 2;
        dbk_buf_append(out, dbk_slice(json.data, before));
        dbk_json_write_string(out, dbk_slice(at, size));
        json = dbk_slice(at + size, json.size - before - size);
        at = find_mark(json);
    }
    dbk_buf_append(out, json);
}

int dbk_neo4j_put_value(struct dbk_buf *out, const struct dbk_value *value, struct dbk_error *err)
{
    switch (value->kind) {
    case DBK_VALUE_NULL:
        dbk_buf_append_text(out, "null");
        break;
    case DBK_VALUE_INTEGER:
        if (value->json)
            dbk_buf_append_text(out, value->integer != 0 ? "true" : "false");
        else
            dbk_json_write_integer(out, value->integer);
        break;
    case DBK_VALUE_REAL:
        dbk_json_write_double(out, value->real);
        break;
    case DBK_VALUE_DECIMAL:
        dbk_json_write_decimal(out, value->decimal);
        break;
    case DBK_VALUE_TEXT:
        if (value->json)
            put_json(out, value->bytes);
        else
            dbk_json_write_string(out, value->bytes);
        break;
    case DBK_VALUE_BLOB:
        return dbk_error_set(err, DBK_EREFUSED, "Neo4j keeps no bytes: take members of the data");
    }
    return DBK_OK;
}
