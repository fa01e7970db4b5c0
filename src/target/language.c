/* SPDX-License-Identifier: Apache-2.0 */
/* Texts in the language of their database. */
#include "target/mongodb/command.h"
#include "target/neo4j/cypher.h"

struct dbk_slice dbk_text_statement(enum dbk_dialect dialect, struct dbk_slice text, size_t offset,
                                    size_t *offset_out)
{
    switch (dialect) {
    case DBK_DIALECT_CYPHER:
        return dbk_cypher_statement(text, offset, offset_out);
    case DBK_DIALECT_MONGODB:
        return dbk_mongodb_statement(text, offset, offset_out);
    case DBK_DIALECT_SQLITE:
    case DBK_DIALECT_POSTGRES:
        break;
    }
    return dbk_sql_statement(text, offset, offset_out);
}

/* The token at an offset, and the parameter's name that it is, or none. */
static struct dbk_slice next_token(enum dbk_dialect dialect, struct dbk_slice text, size_t offset,
                                   struct dbk_slice *name_out)
{
    if (dialect == DBK_DIALECT_MONGODB) {
        struct dbk_mongodb_token token = dbk_mongodb_next(text, offset);
        if (!dbk_mongodb_parameter(token, name_out))
            *name_out = (struct dbk_slice){0};
        return token.text;
    }
    struct dbk_slice token = {0};
    bool found = false;
    if (dialect == DBK_DIALECT_CYPHER) {
        struct dbk_cypher_token cypher = dbk_cypher_next(text, offset);
        token = cypher.text;
        found = cypher.kind == DBK_CYPHER_PARAMETER;
    } else {
        struct dbk_sql_token sql = dbk_sql_next(text, offset);
        token = sql.text;
        found = sql.kind == DBK_SQL_PARAMETER;
    }
    *name_out = found ? dbk_slice(token.data + 1, token.size - 1) : (struct dbk_slice){0};
    return token;
}

struct dbk_slice dbk_text_parameter(enum dbk_dialect dialect, struct dbk_slice text, size_t offset,
                                    size_t *offset_out)
{
    while (offset < text.size) {
        struct dbk_slice name = {0};
        struct dbk_slice token = next_token(dialect, text, offset, &name);
        if (token.size == 0)
            break;
        offset += token.size;
        *offset_out = offset;
        if (name.size > 0)
            return name;
    }
    *offset_out = text.size;
    return (struct dbk_slice){0};
}

int dbk_text_rewrite(enum dbk_dialect dialect, struct dbk_slice text,
                     const struct dbk_sql_rename *renames, size_t rename_count, struct dbk_buf *out,
                     struct dbk_arena *arena, struct dbk_slice **names_out, size_t *name_count_out,
                     struct dbk_error *err)
{
    struct dbk_slice prefix = rename_count > 0 ? renames[0].to : (struct dbk_slice){0};
    if (dialect == DBK_DIALECT_CYPHER) {
        struct dbk_cypher_names names = {0};
        int rc = dbk_cypher_write(text, prefix, "$_", out, arena, &names, err);
        *names_out = names.items;
        *name_count_out = names.count;
        return rc;
    }
    if (dialect == DBK_DIALECT_MONGODB) {
        struct dbk_mongodb_names names = {0};
        int rc = dbk_mongodb_write(text, prefix, out, arena, &names, err);
        *names_out = names.items;
        *name_count_out = names.count;
        return rc;
    }
    return dbk_sql_rewrite(text, renames, rename_count, out, arena, names_out, name_count_out, err);
}
