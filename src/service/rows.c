/* SPDX-License-Identifier: Apache-2.0 */
/* INSERT, UPDATE, DELETE, MERGE, SELECT: what a migration does to rows. */
#include "service/reading.h"

/* Functions that change nothing but what is said: a call of any other may do anything. */
static bool is_harmless(struct dbk_slice name)
{
    return dbk_sql_is_plain_function(name) || dbk_service_is_name(name, "nextval") ||
           dbk_service_is_name(name, "setval");
}

static int read_update(struct dbk_migration_reading *reading, struct dbk_slice table,
                       const struct dbk_json_node *list)
{
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && one != NULL && i < list->count;
         i++, one = dbk_json_sibling(one))
        rc = dbk_migration_put_simple(reading, DBK_CHANGE_UPDATE_ROWS, table,
                                      dbk_service_text(dbk_json_member(one, "ResTarget"), "name"),
                                      "gives other values to");
    return rc;
}

/* All nodes of a subtree stand behind one another: changes of rows may be in WITH, too. */
int dbk_migration_read_rows(struct dbk_migration_reading *reading, const struct dbk_json_node *node)
{
    int rc = DBK_OK;
    for (uint32_t i = 0; rc == DBK_OK && i < node->next; i++) {
        const struct dbk_json_node *one = &node[i];
        if (one->kind != DBK_JSON_OBJECT)
            continue;
        if (dbk_slice_equal_text(one->key, "UpdateStmt"))
            rc = read_update(reading, dbk_migration_table(one, "relation"),
                             dbk_migration_list(one, "targetList"));
        else if (dbk_slice_equal_text(one->key, "onConflictClause"))
            rc = read_update(reading, dbk_migration_table(node, "relation"),
                             dbk_migration_list(one, "targetList"));
        else if (dbk_slice_equal_text(one->key, "DeleteStmt"))
            rc = dbk_migration_put_simple(reading, DBK_CHANGE_DELETE_ROWS,
                                          dbk_migration_table(one, "relation"), DBK_MIGRATION_NONE,
                                          "deletes rows of");
        else if (dbk_slice_equal_text(one->key, "MergeStmt"))
            rc = dbk_migration_put_simple(reading, DBK_CHANGE_UNKNOWN,
                                          dbk_migration_table(one, "relation"), DBK_MIGRATION_NONE,
                                          "merges rows into");
        else if (dbk_slice_equal_text(one->key, "intoClause") &&
                 !dbk_migration_is_temporary(dbk_json_member(one, "rel")))
            rc = dbk_migration_make_anew(reading, dbk_migration_table(one, "rel"), NULL, 0);
        else if (dbk_slice_equal_text(one->key, "FuncCall") &&
                 reading->migration->dialect != DBK_DIALECT_SQLITE &&
                 !is_harmless(dbk_migration_last(dbk_migration_list(one, "funcname"))))
            rc = dbk_migration_put_unknown(reading,
                                           dbk_migration_last(dbk_migration_list(one, "funcname")));
    }
    return rc;
}
