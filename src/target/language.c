/* SPDX-License-Identifier: Apache-2.0 */
/* Texts in the language of their database. */
#include "target/neo4j/cypher.h"

struct dbk_slice dbk_text_statement(enum dbk_dialect dialect, struct dbk_slice text, size_t offset,
                                    size_t *offset_out)
{
    return dialect == DBK_DIALECT_CYPHER ? dbk_cypher_statement(text, offset, offset_out)
                                         : dbk_sql_statement(text, offset, offset_out);
}

static bool next_parameter(enum dbk_dialect dialect, struct dbk_slice text, size_t offset,
                           struct dbk_slice *token_out)
{
    if (dialect == DBK_DIALECT_CYPHER) {
        struct dbk_cypher_token token = dbk_cypher_next(text, offset);
        *token_out = token.text;
        return token.kind == DBK_CYPHER_PARAMETER;
    }
    struct dbk_sql_token token = dbk_sql_next(text, offset);
    *token_out = token.text;
    return token.kind == DBK_SQL_PARAMETER;
}

struct dbk_slice dbk_text_parameter(enum dbk_dialect dialect, struct dbk_slice text, size_t offset,
                                    size_t *offset_out)
{
    struct dbk_slice token = {0};
    while (offset < text.size) {
        bool found = next_parameter(dialect, text, offset, &token);
        if (token.size == 0)
            break;
        offset += token.size;
        *offset_out = offset;
        if (found)
            return dbk_slice(token.data + 1, token.size - 1);
    }
    *offset_out = text.size;
    return (struct dbk_slice){0};
}

int dbk_text_rewrite(enum dbk_dialect dialect, struct dbk_slice text,
                     const struct dbk_sql_rename *renames, size_t rename_count, struct dbk_buf *out,
                     struct dbk_arena *arena, struct dbk_slice **names_out, size_t *name_count_out,
                     struct dbk_error *err)
{
    struct dbk_cypher_names names = {0};
    if (dialect != DBK_DIALECT_CYPHER)
        return dbk_sql_rewrite(text, renames, rename_count, out, arena, names_out, name_count_out,
                               err);
    struct dbk_slice prefix = rename_count > 0 ? renames[0].to : (struct dbk_slice){0};
    int rc = dbk_cypher_write(text, prefix, "$_", out, arena, &names, err);
    *names_out = names.items;
    *name_count_out = names.count;
    return rc;
}
