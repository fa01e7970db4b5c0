/* SPDX-License-Identifier: Apache-2.0 */
/* ALTER TABLE. */
#include "service/reading.h"

static bool has_constraint(const struct dbk_json_node *column, const char *kind)
{
    const struct dbk_json_node *list = dbk_migration_list(column, "constraints");
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    for (uint32_t i = 0; one != NULL && i < list->count; i++, one = dbk_json_sibling(one)) {
        struct dbk_slice type = dbk_service_text(dbk_json_member(one, "Constraint"), "contype");
        if (dbk_slice_equal_text(type, kind))
            return true;
    }
    return false;
}

static int alter_add(struct dbk_migration_reading *reading, struct dbk_slice table,
                     const struct dbk_json_node *command)
{
    const struct dbk_json_node *definition = dbk_json_member(command, "def");
    const struct dbk_json_node *column =
        definition == NULL ? NULL : dbk_json_member(definition, "ColumnDef");
    struct dbk_slice name = dbk_service_text(column, "colname");
    bool filled = has_constraint(column, "CONSTR_DEFAULT") ||
                  has_constraint(column, "CONSTR_IDENTITY") ||
                  has_constraint(column, "CONSTR_GENERATED");
    bool required =
        has_constraint(column, "CONSTR_NOTNULL") || has_constraint(column, "CONSTR_PRIMARY");
    int rc = dbk_migration_put_simple(
        reading, required && !filled ? DBK_CHANGE_ADD_REQUIRED : DBK_CHANGE_ADD_COLUMN, table, name,
        "adds the column");
    if (rc == DBK_OK &&
        (has_constraint(column, "CONSTR_UNIQUE") || has_constraint(column, "CONSTR_PRIMARY") ||
         has_constraint(column, "CONSTR_CHECK") || has_constraint(column, "CONSTR_FOREIGN")))
        rc = dbk_migration_put_simple(reading, DBK_CHANGE_ADD_CONSTRAINT, table, DBK_MIGRATION_NONE,
                                      "adds a constraint to");
    return rc;
}

static int alter_constraint(struct dbk_migration_reading *reading, struct dbk_slice table,
                            const struct dbk_json_node *command)
{
    const struct dbk_json_node *definition = dbk_json_member(command, "def");
    const struct dbk_json_node *constraint =
        definition == NULL ? NULL : dbk_json_member(definition, "Constraint");
    struct dbk_change change;
    int rc =
        dbk_migration_begin(reading, DBK_CHANGE_ADD_CONSTRAINT, table, DBK_MIGRATION_NONE, &change);
    if (rc == 1) {
        bool primary =
            dbk_slice_equal_text(dbk_service_text(constraint, "contype"), "CONSTR_PRIMARY");
        change.new_name = primary ? "primary key" : "";
        rc = dbk_migration_put(reading, &change, "adds a %s to %s",
                               primary ? "primary key" : "constraint", change.table);
    }
    /* Who changes the rows that are referred to meets it, too. */
    struct dbk_slice other =
        constraint == NULL ? DBK_MIGRATION_NONE : dbk_migration_table(constraint, "pktable");
    return rc < 0 || other.size == 0
               ? rc
               : dbk_migration_put_simple(reading, DBK_CHANGE_ADD_CONSTRAINT, other,
                                          DBK_MIGRATION_NONE, "adds references to");
}

static int alter_command(struct dbk_migration_reading *reading, struct dbk_slice table,
                         const struct dbk_json_node *command)
{
    static const struct {
        const char *subtype;
        enum dbk_change_kind kind;
        bool column;
        const char *words;
    } kinds[] = {
        {"AT_DropColumn", DBK_CHANGE_DROP_COLUMN, true, "drops the column"},
        {"AT_AlterColumnType", DBK_CHANGE_TYPE, true, "changes the type of"},
        {"AT_SetNotNull", DBK_CHANGE_SET_NOT_NULL, true, "forbids NULL in"},
        {"AT_DropNotNull", DBK_CHANGE_DROP_NOT_NULL, true, "allows NULL in"},
        {"AT_DropConstraint", DBK_CHANGE_DROP_CONSTRAINT, false, "drops a constraint of"},
        {"AT_ReplicaIdentity", DBK_CHANGE_REPLICA, false, "changes the replica identity of"},
        {"AT_EnableTrig", DBK_CHANGE_TRIGGER, false, "switches triggers of"},
        {"AT_EnableTrigAll", DBK_CHANGE_TRIGGER, false, "switches triggers of"},
        {"AT_EnableTrigUser", DBK_CHANGE_TRIGGER, false, "switches triggers of"},
        {"AT_DisableTrig", DBK_CHANGE_TRIGGER, false, "switches triggers of"},
        {"AT_DisableTrigAll", DBK_CHANGE_TRIGGER, false, "switches triggers of"},
        {"AT_DisableTrigUser", DBK_CHANGE_TRIGGER, false, "switches triggers of"},
        {"AT_ChangeOwner", DBK_CHANGE_RIGHTS, false, "changes the owner of"},
        {"AT_EnableRowSecurity", DBK_CHANGE_RIGHTS, false, "hides rows of"},
        {"AT_ForceRowSecurity", DBK_CHANGE_RIGHTS, false, "hides rows of"},
        {"AT_DisableRowSecurity", DBK_CHANGE_NONE, false, "shows all rows of"},
        {"AT_ValidateConstraint", DBK_CHANGE_NONE, false, "validates a constraint of"},
        {"AT_SetStatistics", DBK_CHANGE_NONE, false, "tunes"},
        {"AT_SetStorage", DBK_CHANGE_NONE, false, "tunes"},
        {"AT_SetCompression", DBK_CHANGE_NONE, false, "tunes"},
        {"AT_SetRelOptions", DBK_CHANGE_NONE, false, "tunes"},
        {"AT_ResetRelOptions", DBK_CHANGE_NONE, false, "tunes"},
        {"AT_SetTableSpace", DBK_CHANGE_NONE, false, "moves the files of"},
        {"AT_ClusterOn", DBK_CHANGE_NONE, false, "tunes"},
        {"AT_DropCluster", DBK_CHANGE_NONE, false, "tunes"},
    };
    struct dbk_slice subtype = dbk_service_text(command, "subtype");
    struct dbk_slice column = dbk_service_text(command, "name");
    if (dbk_slice_equal_text(subtype, "AT_AddColumn"))
        return alter_add(reading, table, command);
    if (dbk_slice_equal_text(subtype, "AT_AddConstraint"))
        return alter_constraint(reading, table, command);
    if (dbk_slice_equal_text(subtype, "AT_ColumnDefault"))
        return dbk_json_member(command, "def") == NULL
                   ? dbk_migration_put_simple(reading, DBK_CHANGE_DROP_DEFAULT, table, column,
                                              "drops the default of")
                   : dbk_migration_put_simple(reading, DBK_CHANGE_SET_DEFAULT, table, column,
                                              "sets the default of");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!dbk_slice_equal_text(subtype, kinds[i].subtype))
            continue;
        int rc =
            dbk_migration_put_simple(reading, kinds[i].kind, table,
                                     kinds[i].column ? column : DBK_MIGRATION_NONE, kinds[i].words);
        return rc < 0 || kinds[i].kind != DBK_CHANGE_DROP_COLUMN
                   ? rc
                   : dbk_migration_put_cascade(reading, command);
    }
    return dbk_migration_put_simple(reading, DBK_CHANGE_UNKNOWN, table, DBK_MIGRATION_NONE,
                                    "alters in a way not known");
}

int dbk_migration_read_alter(struct dbk_migration_reading *reading,
                             const struct dbk_json_node *node)
{
    const struct dbk_json_node *list = dbk_migration_list(node, "cmds");
    const struct dbk_json_node *one = list == NULL ? NULL : dbk_json_first(list);
    struct dbk_slice table = dbk_migration_table(node, "relation");
    int rc = DBK_OK;
    if (dbk_slice_equal_text(dbk_service_text(node, "objtype"), "OBJECT_INDEX") ||
        dbk_slice_equal_text(dbk_service_text(node, "objtype"), "OBJECT_SEQUENCE"))
        return dbk_migration_put_simple(reading, DBK_CHANGE_NONE, table, DBK_MIGRATION_NONE,
                                        "tunes");
    for (uint32_t i = 0; rc == DBK_OK && one != NULL && i < list->count;
         i++, one = dbk_json_sibling(one)) {
        const struct dbk_json_node *command = dbk_json_member(one, "AlterTableCmd");
        if (command != NULL)
            rc = alter_command(reading, table, command);
    }
    return rc;
}
