/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several views brought up to date in one transaction, each behind what it reads.
 *
 * The changes of one are noted by the triggers on its rows as all others are, so that the next one
 * takes them. Tables in temp have the same names for all views, and are dropped in between.
 */
#include <stdio.h>

#include "view/logged.h"
#include "view/plan.h"
#include "view/record.h"

struct joint {
    const struct dbk_view_refresh *refreshes;
    size_t count;
    struct dbk_connection *connection;
    struct dbk_view_plan *plans;
    struct dbk_view_row *rows;
    bool left; /* notes and changes that nobody needs */
};

/* 1: all can be brought up to date, as far as is known without looking; 0: one cannot. */
static int plan_all(struct joint *joint, struct dbk_error *err)
{
    int rc = 1;
    for (size_t i = 0; rc == 1 && i < joint->count; i++) {
        const struct dbk_view_refresh *refresh = &joint->refreshes[i];
        const struct dbk_view_row *row = &joint->rows[i];
        if (refresh->source->log)
            return 0;
        rc = dbk_view_catalog_read(joint->connection, refresh->definition->name, &joint->rows[i],
                                   err);
        if (rc == DBK_OK)
            rc = dbk_view_plan_make(&joint->plans[i], joint->connection, refresh->definition, err);
        if (rc == DBK_OK)
            rc = joint->plans[i].incremental && row->generation != 0 &&
                 row->layout == DBK_VIEW_LAYOUT &&
                 strcmp(row->fingerprint, refresh->fingerprint) == 0;
    }
    return rc;
}

static int drop_temporary(struct dbk_connection *connection, struct dbk_error *err)
{
    for (;;) {
        struct dbk_statement *statement = NULL;
        char sql[DBK_VIEW_TABLE_SIZE_MAX + 32];
        int rc = dbk_statement_open(
            connection,
            DBK_SLICE_LITERAL("SELECT name FROM temp.sqlite_schema WHERE type = 'table' LIMIT 1"),
            &statement, NULL, err);
        if (rc == DBK_OK)
            rc = dbk_statement_step(statement, err);
        if (rc == 1)
            (void)snprintf(sql, sizeof(sql), "DROP TABLE temp.\"%.*s\"",
                           DBK_SLICE_ARGS(dbk_statement_column(statement, 0).bytes));
        dbk_statement_free(statement);
        if (rc == 1)
            rc = dbk_connection_run(connection, sql, err) < 0 ? DBK_EIO : 1;
        if (rc != 1)
            return rc;
    }
}

/* In the transaction. 1: all are up to date; 0: one is to be computed in full. */
static int apply_all(struct joint *joint, struct dbk_error *err)
{
    for (size_t i = 0; i < joint->count; i++) {
        struct dbk_view_attempt attempt = {.joined = true, .schema = -1};
        int rc = dbk_view_apply(&joint->refreshes[i], &joint->plans[i], joint->connection,
                                &joint->rows[i], &attempt, err);
        if (rc < 0 || !attempt.done)
            return rc < 0 ? rc : 0;
        joint->left = joint->left || attempt.left;
        rc = drop_temporary(joint->connection, err);
        if (rc < 0)
            return rc;
    }
    return 1;
}

static int run(struct joint *joint, struct dbk_error *err)
{
    int rc = plan_all(joint, err);
    if (rc != 1)
        return rc;
    rc = dbk_connection_begin(joint->connection, DBK_BEGIN_WRITE, err);
    if (rc == DBK_OK)
        rc = apply_all(joint, err);
    if (rc == 1)
        rc = dbk_connection_run(joint->connection, "COMMIT", err) < 0 ? DBK_EIO : 1;
    if (rc != 1 && dbk_connection_in_transaction(joint->connection))
        dbk_ignore(dbk_connection_run(joint->connection, "ROLLBACK", NULL));
    /* What it leaves, a later refresh removes. */
    if (rc == 1 && joint->left) {
        dbk_ignore(dbk_follow_clean(joint->connection, NULL));
        for (size_t i = 0; i < joint->count; i++)
            dbk_ignore(
                dbk_record_clean(joint->connection, joint->refreshes[i].definition->name, NULL));
    }
    return rc;
}

int dbk_view_refresh_jointly(const struct dbk_view_refresh *refreshes, size_t count, bool *done_out,
                             struct dbk_error *err)
{
    struct joint joint = {.refreshes = refreshes, .count = count};
    joint.plans = dbk_alloc_zero(count, sizeof(*joint.plans));
    joint.rows = dbk_alloc_zero(count, sizeof(*joint.rows));
    int rc = joint.plans == NULL || joint.rows == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : dbk_connection_open(refreshes[0].definition->database_path, 0, &joint.connection,
                                       err);
    for (size_t i = 0; joint.plans != NULL && i < count; i++)
        dbk_view_plan_init(&joint.plans[i]);
    if (rc == DBK_OK)
        rc = run(&joint, err);
    dbk_connection_free(joint.connection);
    for (size_t i = 0; joint.plans != NULL && i < count; i++)
        dbk_view_plan_release(&joint.plans[i]);
    dbk_free(joint.plans);
    dbk_free(joint.rows);
    *done_out = rc == 1;
    return rc < 0 ? rc : DBK_OK;
}
