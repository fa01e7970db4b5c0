/* SPDX-License-Identifier: Apache-2.0 */
#include "view/shown.h"

#define SQL_SIZE_MAX ((size_t)4 << 20)

static void append_table(struct dbk_buf *sql, const char *view, uint64_t generation,
                         const char *suffix)
{
    dbk_buf_append_format(sql, "\"%s__g%llu%s\"", view, (unsigned long long)generation, suffix);
}

static void append_names(struct dbk_buf *sql, const struct dbk_view_plan *plan, bool numbered)
{
    for (size_t i = 0; i < plan->name_count; i++) {
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        dbk_emit_name(sql, plan->names[i]);
        if (numbered)
            dbk_buf_append_format(sql, " AS c%zu", i);
    }
}

static void append_terms(struct dbk_buf *sql, const struct dbk_view_plan *plan, bool index)
{
    const struct dbk_algebra *tree = &plan->tree;
    for (size_t i = 0; i < tree->order_count; i++) {
        struct dbk_order order = tree->order[i];
        if (index && order.nulls != NULL && tree->dialect == DBK_DIALECT_SQLITE)
            break; /* It has no such index: what is before them is of use. */
        dbk_buf_append_text(sql, i > 0 ? ", " : "");
        dbk_emit_name(sql, plan->names[order.output]);
        dbk_emit_direction(sql, &order);
    }
}

static void append_from(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                        uint64_t generation, const char *as)
{
    const struct dbk_relation *root = plan->tree.root;
    dbk_buf_append_text(sql, " FROM ");
    append_table(sql, view, generation, "");
    dbk_buf_append_text(sql, as);
    if (plan->incremental && root->kind == DBK_RELATION_GROUP && root->having != NULL)
        dbk_buf_append_text(sql, " WHERE _daybook_shown = 1");
}

void dbk_shown_whole(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                     uint64_t generation, bool numbered)
{
    dbk_buf_append_text(sql, "SELECT ");
    append_names(sql, plan, numbered);
    append_from(sql, plan, view, generation, "");
}

void dbk_shown_order(struct dbk_buf *sql, const struct dbk_view_plan *plan)
{
    const struct dbk_algebra *tree = &plan->tree;
    if (tree->order_count > 0 || tree->limit != NULL)
        dbk_buf_append_text(sql, " ORDER BY ");
    append_terms(sql, plan, false);
    if (tree->limit == NULL)
        return;
    dbk_buf_append_text(sql, tree->order_count > 0 ? ", " : "");
    append_names(sql, plan, false);
    dbk_emit_bounds(sql, tree);
}

void dbk_shown_from(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                    uint64_t generation)
{
    append_from(sql, plan, view, generation, " AS v");
    if (plan->incremental)
        dbk_shown_order(sql, plan);
}

void dbk_shown_select(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                      uint64_t generation)
{
    if (!plan->incremental) {
        dbk_buf_append_text(sql, "SELECT * FROM ");
        append_table(sql, view, generation, "");
        return;
    }
    dbk_shown_whole(sql, plan, view, generation, false);
    dbk_shown_order(sql, plan);
}

int dbk_shown_create(struct dbk_connection *connection, const char *view, struct dbk_slice shown,
                     struct dbk_error *err)
{
    struct dbk_buf sql;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql, "DROP VIEW IF EXISTS \"%s\"; CREATE VIEW \"%s\" AS ", view, view);
    dbk_buf_append(&sql, shown);
    dbk_buf_append_char(&sql, '\0');
    int rc = sql.rc < 0 ? dbk_error_set(err, sql.rc, "%s", dbk_code_text(sql.rc))
                        : dbk_connection_run(connection, sql.data, err);
    dbk_buf_release(&sql);
    return rc;
}

void dbk_shown_index(struct dbk_buf *sql, const struct dbk_view_plan *plan, const char *view,
                     uint64_t generation)
{
    const struct dbk_algebra *tree = &plan->tree;
    bool none = tree->order_count == 0 ||
                (tree->order[0].nulls != NULL && tree->dialect == DBK_DIALECT_SQLITE);
    if (tree->limit == NULL || none)
        return;
    dbk_buf_append_text(sql, "CREATE INDEX ");
    append_table(sql, view, generation, "_order");
    dbk_buf_append_text(sql, " ON ");
    append_table(sql, view, generation, "");
    dbk_buf_append_text(sql, " (");
    append_terms(sql, plan, true);
    dbk_buf_append_text(sql, ");");
}
