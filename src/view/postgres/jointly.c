/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several views brought up to date in one transaction, each behind what it reads.
 *
 *     what is filled is followed, by transactions of their own
 *     BEGIN, the transaction's id
 *       one after the other: its difference applied, or its rows stored in a generation beside,
 *       for which its name stands from there on
 *     the plain views of what was filled, COMMIT
 *
 * The changes of one are noted by the triggers on its rows as all others are, so that the next one
 * takes them. One of which it turns out in the transaction that it must be filled has it begun
 * anew. The plain views are shown last, because readers wait for that until the COMMIT.
 */
#include <stdio.h>
#include <time.h>

#include "view/postgres/state.h"
#include "view/shown.h"

struct member {
    const struct dbk_view_definition *definition; /* for whom the plan was made */
    struct dbk_view_plan plan;
    struct dbk_buf marks; /* of the tables that the plan fits */
    struct dbk_pgview_fill work;
    struct dbk_buf shown; /* the SELECT of its plain view */
    uint64_t changes;
    bool planned;
    bool full;    /* it is filled */
    bool refused; /* it was found in the transaction that it must be, and why */
    char why[512];
    bool stands; /* its name stands for what was filled */
};

struct dbk_pgview_joint {
    struct dbk_connection *connection;
    struct member *members;
    size_t count;
};

static const char *name_of(const struct member *member)
{
    return member->work.refresh->definition->name;
}

void dbk_pgview_joint_free(struct dbk_pgview_joint *joint)
{
    if (joint == NULL)
        return;
    for (size_t i = 0; i < joint->count; i++) {
        dbk_view_plan_release(&joint->members[i].plan);
        dbk_buf_release(&joint->members[i].marks);
        dbk_buf_release(&joint->members[i].work.sql);
        dbk_buf_release(&joint->members[i].shown);
    }
    dbk_connection_free(joint->connection);
    dbk_free(joint->members);
    dbk_free(joint);
}

static int open_joint(const struct dbk_view_refresh *refreshes, size_t count,
                      struct dbk_pgview_joint **joint_out, struct dbk_error *err)
{
    struct dbk_pgview_joint *joint = dbk_alloc_zero(1, sizeof(*joint));
    struct member *members = dbk_alloc_zero(count, sizeof(*members));
    if (joint == NULL || members == NULL) {
        dbk_free(joint);
        dbk_free(members);
        return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
    }
    joint->members = members;
    joint->count = count;
    for (size_t i = 0; i < count; i++) {
        members[i].definition = refreshes[i].definition;
        dbk_view_plan_init(&members[i].plan);
        dbk_buf_init(&members[i].marks, DBK_PGVIEW_SQL_SIZE_MAX);
        dbk_buf_init(&members[i].work.sql, DBK_PGVIEW_SQL_SIZE_MAX);
        dbk_buf_init(&members[i].shown, DBK_PGVIEW_SQL_SIZE_MAX);
    }
    int rc = dbk_pgview_open_over(refreshes[0].definition, &joint->connection, err);
    if (rc == DBK_OK)
        rc = dbk_view_catalog_create(joint->connection, err);
    if (rc == DBK_OK)
        rc = dbk_pgview_catalog(joint->connection, err);
    if (rc < 0)
        dbk_pgview_joint_free(joint);
    else
        *joint_out = joint;
    return rc;
}

/* ---- Before the transaction ---- */

/* How each is to be brought up to date. 1: all can be, together; 0: one cannot. */
static int look_at(struct dbk_pgview_joint *joint, struct member *member, struct dbk_error *err)
{
    struct dbk_pgview_fill *work = &member->work;
    const struct dbk_view_definition *definition = work->refresh->definition;
    work->connection = joint->connection;
    work->plan = &member->plan;
    work->row = (struct dbk_view_row){.tried_us = work->refresh->os->now_us(work->refresh->os)};
    int rc = dbk_view_catalog_read(joint->connection, definition->name, &work->old, err);
    if (rc == DBK_OK && !member->planned)
        rc = dbk_pgview_plan(&member->plan, joint->connection, definition, err);
    if (rc < 0)
        return rc;
    member->planned = true;
    /* What was never refreshed has no reader that could see one without the other. */
    if (work->old.generation == 0 ||
        (definition->mode == DBK_VIEW_INCREMENTAL && !member->plan.incremental))
        return 0;
    dbk_pgview_find_reason(work);
    if (work->row.reason[0] == '\0' && member->refused)
        (void)snprintf(work->row.reason, sizeof(work->row.reason), "%s", member->why);
    member->full = work->row.reason[0] != '\0';
    return 1;
}

static int prepare(struct dbk_pgview_joint *joint, struct dbk_error *err)
{
    int rc = 1;
    for (size_t i = 0; rc == 1 && i < joint->count; i++)
        rc = look_at(joint, &joint->members[i], err);
    for (size_t i = 0; rc == 1 && i < joint->count; i++) {
        struct member *member = &joint->members[i];
        if (member->full && member->plan.incremental &&
            dbk_pgview_fill_follow(&member->work, err) < 0)
            rc = 0;
    }
    return rc;
}

/* ---- In it ---- */

/* Whether it reads one whose rows lie in another table since. */
static bool reads_filled(const struct dbk_pgview_joint *joint, const struct member *member)
{
    const struct dbk_view_source *source = member->work.refresh->source;
    bool found = false;
    for (size_t i = 0; i < joint->count && !found; i++) {
        for (size_t j = 0; j < source->view_count && joint->members[i].stands && !found; j++)
            found = strcmp(source->views[j], name_of(&joint->members[i])) == 0;
    }
    return found;
}

static int drop_temporary(struct dbk_connection *connection, struct dbk_error *err)
{
    return dbk_connection_run(
        connection,
        "DO $$ DECLARE n text; BEGIN FOR n IN SELECT relname FROM pg_class WHERE relkind = 'r' AND "
        "relnamespace = pg_my_temp_schema() LOOP EXECUTE format('DROP TABLE pg_temp.%I', n); END "
        "LOOP; END $$",
        err);
}

/* 1: its rows are up to date; 0: it must be filled. */
static int apply(struct dbk_pgview_joint *joint, struct member *member, struct dbk_error *err)
{
    struct dbk_view_attempt attempt = {.joined = true, .schema = -1};
    struct dbk_view_row row = member->work.old;
    int rc = dbk_pgview_apply(member->work.refresh, &member->plan, joint->connection,
                              &member->marks, &row, &attempt, err);
    if (rc < 0)
        return rc;
    member->changes = attempt.changes;
    member->refused = !attempt.done;
    member->planned = !attempt.stale;
    (void)snprintf(member->why, sizeof(member->why), "%s", attempt.reason);
    if (attempt.done && attempt.changes != 0)
        rc = drop_temporary(joint->connection, err);
    return rc < 0 ? rc : attempt.done;
}

/* Its rows into a generation beside, for which its name stands. */
static int fill(struct dbk_pgview_joint *joint, struct member *member, struct dbk_error *err)
{
    struct dbk_pgview_fill *work = &member->work;
    int rc = DBK_OK;
    if (reads_filled(joint, member)) {
        rc = dbk_pgview_plan(&member->plan, joint->connection, work->refresh->definition, err);
        if (rc == DBK_OK && member->plan.incremental)
            rc =
                dbk_pgview_follow_made(joint->connection, name_of(member), &member->plan.tree, err);
    }
    if (rc == DBK_OK)
        rc = dbk_pgview_fill_rows(work, err);
    if (rc < 0)
        return rc;
    dbk_buf_reset(&member->shown);
    dbk_shown_select(&member->shown, &member->plan, name_of(member), work->row.generation);
    dbk_buf_append_char(&member->shown, '\0');
    rc = member->shown.rc < 0
             ? dbk_error_set(err, member->shown.rc, "%s", dbk_code_text(member->shown.rc))
             : dbk_pgview_stand_for(joint->connection, name_of(member), member->shown.data, err);
    member->stands = rc == DBK_OK;
    return rc;
}

/* All of them; DBK_EREFUSED: one was refused, and is filled when it is begun anew. */
static int bring_up(struct dbk_pgview_joint *joint, struct dbk_error *err)
{
    for (size_t i = 0; i < joint->count; i++) {
        struct member *member = &joint->members[i];
        member->work.row.as_of_us = member->work.refresh->os->now_us(member->work.refresh->os);
        if (!member->full && reads_filled(joint, member)) {
            (void)snprintf(member->why, sizeof(member->why), "what it reads was filled anew");
            member->refused = true;
            return DBK_EREFUSED;
        }
        int rc = member->full ? fill(joint, member, err) : apply(joint, member, err);
        if (rc < 0)
            return rc;
        if (rc == 0 && !member->full)
            return DBK_EREFUSED;
    }
    return DBK_OK;
}

/* All plain views at once. */
static int serve(struct dbk_pgview_joint *joint, struct dbk_error *err)
{
    struct dbk_pgview_shown *plain = dbk_alloc_zero(joint->count, sizeof(*plain));
    size_t count = 0;
    int rc =
        plain == NULL ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM)) : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < joint->count; i++) {
        struct member *member = &joint->members[i];
        if (!member->stands)
            continue;
        plain[count].name = name_of(member);
        plain[count++].select = dbk_slice_of(member->shown.data);
        rc = dbk_pgview_stand_back(joint->connection, name_of(member), err);
        if (rc == DBK_OK)
            rc = dbk_pgview_fill_serve(&member->work, plain[count - 1].select, err);
    }
    if (rc == DBK_OK && count > 0)
        rc = dbk_pgview_show(joint->connection, plain, count, err);
    dbk_free(plain);
    return rc;
}

static int run_once(struct dbk_pgview_joint *joint, struct dbk_error *err)
{
    int rc = prepare(joint, err);
    if (rc != 1)
        return rc < 0 ? rc : DBK_ENOTFOUND;
    for (size_t i = 0; i < joint->count; i++)
        joint->members[i].stands = false;
    rc = dbk_pgview_begin(joint->connection, err);
    /* So that nearly all that it does not see began before it (notes.c). */
    if (rc == DBK_OK)
        rc = dbk_connection_run(joint->connection, "SELECT txid_current()", err);
    if (rc == DBK_OK)
        rc = bring_up(joint, err);
    if (rc == DBK_OK)
        rc = serve(joint, err);
    rc = dbk_view_end_transaction(joint->connection, rc, err);
    /* A plan that was made in it is of tables that were given up with it. */
    for (size_t i = 0; i < joint->count && rc < 0; i++)
        joint->members[i].planned = joint->members[i].planned && !joint->members[i].full;
    return rc;
}

/* ---- Behind it ---- */

static void clean(struct dbk_pgview_joint *joint)
{
    bool filled = false;
    for (size_t i = 0; i < joint->count; i++) {
        struct member *member = &joint->members[i];
        if (member->full)
            dbk_ignore(dbk_pgview_clean(joint->connection, name_of(member),
                                        member->work.row.generation, NULL));
        filled = filled || member->full;
    }
    if (filled)
        dbk_ignore(dbk_pgview_end_logs(joint->connection, NULL));
    for (size_t i = 0; i < joint->count; i++) {
        if (joint->members[i].full || joint->members[i].changes != 0)
            dbk_pgview_clean_plan(joint->connection, &joint->members[i].plan);
    }
}

/* Those that were followed to be filled, and were not. */
static void forget(struct dbk_pgview_joint *joint)
{
    for (size_t i = 0; i < joint->count; i++)
        dbk_ignore(dbk_pgview_forget(joint->connection, name_of(&joint->members[i]),
                                     DBK_PGVIEW_HELD, NULL));
}

/* What was kept by the one before, where it is of the same views. */
static int take(const struct dbk_view_refresh *refreshes, size_t count,
                struct dbk_pgview_joint **joint_out, struct dbk_error *err)
{
    struct dbk_pgview_joint **kept = dbk_pgview_session_joint(refreshes[count - 1].session);
    struct dbk_pgview_joint *joint = kept == NULL ? NULL : *kept;
    bool same = joint != NULL && joint->count == count;
    for (size_t i = 0; i < count && same; i++)
        same = joint->members[i].definition == refreshes[i].definition;
    if (kept != NULL)
        *kept = NULL;
    if (!same) {
        dbk_pgview_joint_free(joint);
        int rc = open_joint(refreshes, count, &joint, err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < count; i++) {
        joint->members[i].work.refresh = &refreshes[i];
        joint->members[i].refused = false;
        joint->members[i].changes = 0;
    }
    *joint_out = joint;
    return DBK_OK;
}

static void keep(struct dbk_pgview_joint *joint, struct dbk_view_session *session)
{
    struct dbk_pgview_joint **kept = dbk_pgview_session_joint(session);
    bool filled = false;
    for (size_t i = 0; i < joint->count; i++)
        filled = filled || joint->members[i].full;
    if (kept == NULL || filled)
        dbk_pgview_joint_free(joint);
    else
        *kept = joint;
}

int dbk_pgview_jointly(const struct dbk_view_refresh *refreshes, size_t count, bool *done_out,
                       struct dbk_error *err)
{
    struct dbk_pgview_joint *joint = NULL;
    struct dbk_error failure = {0};
    *done_out = false;
    int rc = take(refreshes, count, &joint, err);
    if (rc < 0)
        return rc;
    rc = run_once(joint, &failure);
    /* Each time at least one more of them is filled. */
    for (size_t i = 0; i < count && rc == DBK_EREFUSED; i++)
        rc = run_once(joint, &failure);
    *done_out = rc == DBK_OK;
    if (rc == DBK_OK) {
        clean(joint);
        keep(joint, refreshes[count - 1].session);
        return DBK_OK;
    }
    forget(joint);
    dbk_pgview_joint_free(joint);
    /* One of them has it otherwise: each is refreshed by itself, and says why. */
    return rc == DBK_ENOTFOUND || rc == DBK_EREFUSED
               ? DBK_OK
               : dbk_error_set(err, rc, "%s", failure.message);
}
