/* SPDX-License-Identifier: Apache-2.0 */
/* Values of keys and cursors, as they are kept and compared. */
#include "capture/neo4j/poll.h"

static const struct {
    const char *type; /* Neo4j's */
    const char *read; /* what makes it of a parameter */
} kinds[DBK_NEO4J_OTHER] = {
    [DBK_NEO4J_NUMBER] = {"INTEGER", NULL},
    [DBK_NEO4J_TEXT] = {"STRING", NULL},
    [DBK_NEO4J_TIME] = {"ZONED DATETIME", "datetime"},
    [DBK_NEO4J_LOCAL_TIME] = {"LOCAL DATETIME", "localdatetime"},
};

enum dbk_neo4j_kind dbk_neo4j_kind_of(struct dbk_slice type)
{
    static const char end[] = " NOT NULL";
    if (dbk_slice_equal_text(type, "NULL"))
        return DBK_NEO4J_NONE;
    if (type.size > sizeof(end) - 1 &&
        memcmp(type.data + type.size - (sizeof(end) - 1), end, sizeof(end) - 1) == 0)
        type.size -= sizeof(end) - 1;
    for (int i = DBK_NEO4J_NUMBER; i < (int)DBK_NEO4J_OTHER; i++) {
        if (dbk_slice_equal_text(type, kinds[i].type))
            return (enum dbk_neo4j_kind)i;
    }
    return DBK_NEO4J_OTHER;
}

void dbk_neo4j_value_release(struct dbk_neo4j_value *value)
{
    dbk_free(value->json);
    *value = (struct dbk_neo4j_value){0};
}

int dbk_neo4j_value_set(struct dbk_neo4j_value *value, enum dbk_neo4j_kind kind,
                        struct dbk_slice json)
{
    dbk_neo4j_value_release(value);
    char *copy = dbk_copy_text(json);
    if (copy == NULL)
        return DBK_ENOMEM;
    *value = (struct dbk_neo4j_value){kind, copy};
    return DBK_OK;
}

int dbk_neo4j_value_copy(struct dbk_neo4j_value *value, const struct dbk_neo4j_value *from)
{
    if (from->json != NULL)
        return dbk_neo4j_value_set(value, from->kind, dbk_slice_of(from->json));
    dbk_neo4j_value_release(value);
    return DBK_OK;
}

void dbk_neo4j_value_put(const struct dbk_neo4j_value *value, int index, struct dbk_buf *out)
{
    const char *read = kinds[value->kind].read;
    if (read == NULL)
        dbk_buf_append_format(out, "$_[%d]", index);
    else
        dbk_buf_append_format(out, "%s($_[%d])", read, index);
}

void dbk_neo4j_value_write(const struct dbk_neo4j_value *value, struct dbk_buf *out)
{
    if (value->json == NULL)
        dbk_buf_append_text(out, "null");
    else
        dbk_buf_append_format(out, "{\"kind\":\"%s\",\"value\":%s}", kinds[value->kind].type,
                              value->json);
}

int dbk_neo4j_value_read(struct dbk_neo4j_value *value, const struct dbk_json_node *node)
{
    if (node == NULL || node->kind == DBK_JSON_NULL)
        return DBK_OK;
    const struct dbk_json_node *type = dbk_json_member(node, "kind");
    const struct dbk_json_node *given = dbk_json_member(node, "value");
    if (type == NULL || given == NULL || type->kind != DBK_JSON_STRING)
        return DBK_ECORRUPT;
    enum dbk_neo4j_kind kind = dbk_neo4j_kind_of(type->text);
    enum dbk_json_kind wanted = kind == DBK_NEO4J_NUMBER ? DBK_JSON_INTEGER : DBK_JSON_STRING;
    if (kind == DBK_NEO4J_NONE || kind == DBK_NEO4J_OTHER || given->kind != wanted)
        return DBK_ECORRUPT;
    return dbk_neo4j_value_set(value, kind, given->raw);
}

/* Neo4j reads \u0060 as the character before anything else, so a backslash is written so. */
void dbk_neo4j_put_name(struct dbk_buf *out, const char *name)
{
    dbk_buf_append_char(out, '`');
    for (; *name != '\0'; name++) {
        if (*name == '\\')
            dbk_buf_append_text(out, "\\u005C");
        else
            dbk_buf_append_char(out, *name);
        if (*name == '`')
            dbk_buf_append_char(out, '`');
    }
    dbk_buf_append_char(out, '`');
}

void dbk_neo4j_put_property(struct dbk_buf *out, const char *name)
{
    dbk_buf_append_text(out, "n.");
    dbk_neo4j_put_name(out, name);
}
