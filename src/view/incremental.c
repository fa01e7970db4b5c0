/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One incremental refresh: one write transaction with the rows, the view's row and its cursors.
 */
#include <stdio.h>

#include "view/difference.h"
#include "view/logged.h"

#define SQL_SIZE_MAX ((size_t)4 << 20)
/* What a changed row is thought to take where none was measured. */
#define ROW_US 20
/* Of fewer the time is that of the refresh itself: it tells nothing of what a row takes. */
#define CHANGES_MEASURED 100
/* The read models' writer waits for an incremental refresh; a full one lets it in between. */
#define WAIT_US_MAX INT64_C(2000000)

struct apply {
    const struct dbk_view_refresh *refresh;
    const struct dbk_view_plan *plan;
    struct dbk_connection *connection;
    struct dbk_view_row *row;
    struct dbk_view_attempt *attempt;
    struct dbk_notes *notes; /* by relation's number */
    bool reads_log;
    struct dbk_logged stored; /* what the view has of the log */
    struct dbk_logged now;    /* and what it will have */
    int64_t looked_us;        /* when that was asked for, before the log was read */
    struct dbk_delta delta;
    struct dbk_recording own;        /* for those who follow the view */
    struct dbk_recording *recording; /* it, or that of a build; NULL: nobody is told */
    struct dbk_difference difference;
};

static int give_up(struct apply *apply, const char *format, ...) DBK_PRINTF(2, 3);
/* DBK_EREFUSED: the transaction is rolled back, and a full refresh follows. */
static int give_up(struct apply *apply, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(apply->attempt->reason, sizeof(apply->attempt->reason), format, arguments);
    va_end(arguments);
    return DBK_EREFUSED;
}

static const char *name_of(const struct apply *apply)
{
    return apply->refresh->definition->name;
}

/* Whose cursors say what the rows have. */
static const char *owner_of(const struct apply *apply)
{
    return apply->refresh->owner != NULL ? apply->refresh->owner : name_of(apply);
}

/* Where the log stands, for this transaction; and that it is still what the view has read. */
static int look_at_log(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = apply->refresh;
    char reason[sizeof(apply->attempt->reason)];
    if (!apply->reads_log)
        return DBK_OK;
    int rc = dbk_logged_read(apply->connection, owner_of(apply), &apply->stored, err);
    if (rc == DBK_OK)
        rc = dbk_logged_pin(apply->connection, refresh, &apply->now, err);
    if (rc == DBK_OK)
        rc = dbk_logged_differs(refresh->store, &apply->stored, &apply->now, reason, sizeof(reason),
                                err);
    return rc == DBK_OK && reason[0] != '\0' ? give_up(apply, "%s", reason) : rc;
}

/* Events behind the view's position, as far as they have not been gathered. */
static int gather_events(struct apply *apply, const struct dbk_relation *log,
                         struct dbk_notes *notes, struct dbk_error *err)
{
    uint64_t count = 0;
    int64_t cursor = (int64_t)apply->stored.position;
    int rc = dbk_delta_make(&apply->delta, log, err);
    if (rc == DBK_OK && notes->cursor != cursor) {
        if (notes->rows != 0) {
            dbk_buf_append_format(&apply->delta.sql, "DELETE FROM temp.d%zu", log->number);
            rc = dbk_delta_run(&apply->delta, err);
        }
        *notes = (struct dbk_notes){.cursor = cursor, .upto = cursor};
    }
    if (rc == DBK_OK && notes->upto < (int64_t)apply->now.position)
        rc = dbk_logged_gather(&apply->delta, log, (uint64_t)notes->upto, apply->now.position,
                               &count, err);
    notes->upto = (int64_t)apply->now.position;
    notes->rows += count;
    return rc;
}

/* The tables' notes into temp, as far as they are there. */
static int gather(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    int rc = look_at_log(apply, err);
    apply->attempt->changes = 0;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        struct dbk_notes *notes = &apply->notes[i];
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        if (table->log) {
            rc = gather_events(apply, table, notes, err);
            apply->attempt->changes += notes->rows;
            continue;
        }
        rc = dbk_notes_gather(&apply->delta, owner_of(apply), table, notes, err);
        if (rc == DBK_OK && notes->cursor < 0)
            return give_up(apply, "%s was built anew since", table->name);
        if (rc == DBK_OK && notes->lost)
            return give_up(
                apply, "%s changed more often since than is noted, " DBK_FOLLOW_NOTES_MAX " times",
                table->name);
        apply->attempt->changes += notes->rows;
    }
    return rc;
}

/* The differences of all tables, into temp. */
static int collect(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    int rc = gather(apply, err);
    apply->attempt->changes = 0;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        uint64_t count = table->log ? apply->notes[i].rows : 0;
        if (table->kind != DBK_RELATION_TABLE)
            continue;
        rc = dbk_delta_make(&apply->delta, table, err);
        if (rc == DBK_OK && !table->log && apply->notes[i].rows != 0)
            rc = dbk_notes_difference(&apply->delta, table, &count, err);
        apply->delta.changed[i] = count != 0;
        apply->attempt->changes += count;
    }
    return rc;
}

/* Whether the triggers of all its tables are those that are called for. */
static int look_at_triggers(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_relation *table = tree->relations[i];
        int64_t cursor = 0;
        bool current = true;
        if (table->kind != DBK_RELATION_TABLE || table->log)
            continue;
        rc = dbk_follow_cursor(apply->connection, owner_of(apply), table->table, &cursor, err);
        if (rc == DBK_OK && cursor < 0)
            return give_up(apply, "%s was built anew since", table->name);
        if (rc == DBK_OK)
            rc = dbk_follow_is_current(apply->connection, table, &current, err);
        if (rc == DBK_OK && !current)
            return give_up(apply, "the columns or unique indexes of %s have changed since",
                           table->name);
    }
    return rc;
}

/*
 * A model that was rebuilt since the plan was made has another table, and another process may have
 * filled the view. Where the schema is the one that the plan was found to fit, it fits still.
 */
static int look_again(struct apply *apply, const char *table, struct dbk_error *err)
{
    const struct dbk_view_row *row = apply->row;
    char stored[DBK_VIEW_TABLE_SIZE_MAX];
    bool current = true;
    int64_t schema = 0;
    (void)snprintf(stored, sizeof(stored), "%s__g%llu", name_of(apply),
                   (unsigned long long)row->generation);
    int rc = dbk_view_integer(apply->connection, "PRAGMA schema_version", NULL, &schema, err);
    if (rc == DBK_OK && schema != apply->attempt->schema)
        rc = dbk_view_plan_is_current(apply->plan, apply->connection, &current, err);
    if (rc < 0)
        return rc;
    if (!current || strcmp(stored, table) != 0 || row->layout != DBK_VIEW_LAYOUT ||
        strcmp(row->fingerprint, apply->refresh->fingerprint) != 0) {
        apply->attempt->stale = true;
        return give_up(apply, "its tables were built anew meanwhile");
    }
    if (schema != apply->attempt->schema)
        rc = look_at_triggers(apply, err);
    apply->attempt->schema = schema;
    return rc;
}

/* Measured costs decide, unless the head says `mode: incremental`. */
static int choose(struct apply *apply)
{
    const struct dbk_view_row *row = apply->row;
    double each = row->incremental_changes == 0
                      ? ROW_US
                      : (double)row->incremental_us / (double)row->incremental_changes;
    double wanted = each * (double)apply->attempt->changes;
    if (apply->refresh->definition->mode == DBK_VIEW_INCREMENTAL ||
        apply->attempt->changes < CHANGES_MEASURED)
        return DBK_OK;
    if (wanted > (double)row->full_us)
        return give_up(apply,
                       "%llu rows changed, which take about %.0f ms; all of it takes %.0f ms",
                       (unsigned long long)apply->attempt->changes, wanted / 1000,
                       (double)row->full_us / 1000);
    if (wanted > (double)WAIT_US_MAX)
        return give_up(apply,
                       "%llu rows changed, which take about %.0f ms in one transaction, and "
                       "writers do not wait so long",
                       (unsigned long long)apply->attempt->changes, wanted / 1000);
    return DBK_OK;
}

/* Also where the notes come to nothing: they must not stay. */
static int move_cursors(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_algebra *tree = &apply->plan->tree;
    int rc = apply->reads_log
                 ? dbk_logged_write(apply->connection, owner_of(apply), &apply->now, err)
                 : DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < tree->relation_count; i++) {
        const struct dbk_notes *notes = &apply->notes[i];
        const char *table = tree->relations[i]->table;
        bool left = false;
        if (tree->relations[i]->kind != DBK_RELATION_TABLE || tree->relations[i]->log ||
            notes->upto == notes->cursor)
            continue;
        rc = dbk_follow_set_cursor(apply->connection, owner_of(apply), table, notes->upto, err);
        /* What cannot be removed now stays: the rows do not depend on it. */
        if (rc == DBK_OK && dbk_notes_clean(apply->connection, table, &left, NULL) < 0)
            left = true;
        apply->attempt->left = apply->attempt->left || left;
    }
    return rc;
}

/* Up to where the view is fresh with this refresh. */
static int find_position(struct apply *apply, uint64_t *position_out, struct dbk_error *err)
{
    uint64_t position = 0;
    bool found = false;
    int rc = dbk_view_position(apply->connection, apply->refresh->source, &position, &found, err);
    if (rc < 0)
        return rc;
    *position_out = apply->reads_log ? apply->now.position
                    : found          ? position
                                     : apply->row->position;
    return DBK_OK;
}

static int write_row(struct apply *apply, int64_t begun_us, struct dbk_error *err)
{
    const struct dbk_view_refresh *refresh = apply->refresh;
    struct dbk_view_row *row = apply->row;
    int rc = find_position(apply, &row->position, err);
    if (rc < 0)
        return rc;
    row->rows = (uint64_t)((int64_t)row->rows + apply->delta.rows);
    row->tried_us = refresh->os->now_us(refresh->os);
    /* The log does not stand still in the transaction: who was forgotten while it was read is in
       what was read before. */
    row->as_of_us = apply->reads_log ? apply->looked_us : row->tried_us;
    row->duration_us = refresh->os->monotonic_us(refresh->os) - begun_us;
    row->error[0] = '\0';
    row->reason[0] = '\0';
    row->changes = apply->attempt->changes;
    row->refreshed = DBK_VIEW_INCREMENTAL;
    if (apply->attempt->changes >= CHANGES_MEASURED) {
        row->incremental_us = row->duration_us;
        row->incremental_changes = apply->attempt->changes;
    }
    /* The row of one that does not serve yet is written when it is swapped. */
    return refresh->owner != NULL
               ? DBK_OK
               : dbk_view_catalog_write(apply->connection, name_of(apply), row, err);
}

/* What says that the database or the process is in trouble, which all rows anew would be in too. */
static bool is_trouble(int rc)
{
    return rc == DBK_ENOMEM || rc == DBK_EBUSY || rc == DBK_ESTOPPED || rc == DBK_EIO ||
           rc == DBK_EFULL;
}

/* Where a statement of the difference fails the rows are filled anew. */
static int judge(struct apply *apply, int rc, const struct dbk_error *failure,
                 struct dbk_error *err)
{
    if (rc >= 0 || apply->attempt->reason[0] != '\0')
        return rc;
    const char *why = failure->message[0] == '\0' ? dbk_code_text(rc) : failure->message;
    return is_trouble(rc) ? dbk_error_set(err, rc, "%s", why) : give_up(apply, "%s", why);
}

/* Where the view is recorded, its rows of before are noted, and the touched ones will be. */
static int begin_recording(struct apply *apply, struct dbk_error *err)
{
    const struct dbk_view_plan *plan = apply->plan;
    struct dbk_difference *difference = &apply->difference;
    struct dbk_recording *recording = apply->recording;
    int rc = DBK_OK;
    if (apply->refresh->owner == NULL)
        rc = dbk_recording_begin(recording, apply->connection, apply->refresh->definition,
                                 apply->refresh->os, err);
    if (rc < 0 || recording == NULL || recording->record.epoch[0] == '\0' ||
        apply->attempt->changes == 0)
        return rc;
    rc = find_position(apply, &recording->position, err);
    *difference = (struct dbk_difference){.connection = apply->connection,
                                          .definition = apply->refresh->definition,
                                          .plan = plan,
                                          .names = plan->names,
                                          .name_count = plan->name_count};
    if (rc == DBK_OK)
        rc = dbk_difference_init(difference, true, err);
    if (rc == DBK_OK)
        rc = dbk_difference_make(difference, apply->delta.view, err);
    if (rc == DBK_OK && dbk_difference_is_whole(difference))
        rc = dbk_difference_whole(difference, apply->row->generation, -1, err);
    apply->delta.difference = difference;
    return rc;
}

static int record(struct apply *apply, struct dbk_error *err)
{
    struct dbk_statement *select = NULL;
    struct dbk_difference *difference = &apply->difference;
    if (apply->delta.difference == NULL)
        return DBK_OK;
    int rc = dbk_difference_is_whole(difference)
                 ? dbk_difference_whole(difference, apply->row->generation, 1, err)
                 : DBK_OK;
    if (rc == DBK_OK)
        rc = dbk_difference_open(difference, &select, err);
    if (rc == DBK_OK)
        rc = dbk_recording_take(apply->recording, select, SIZE_MAX, err);
    dbk_statement_free(select);
    return rc < 0 ? rc : DBK_OK;
}

/* The difference, taken and applied. */
static int apply_difference(struct apply *apply, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = collect(apply, &failure);
    if (rc == DBK_OK)
        rc = choose(apply);
    if (rc == DBK_OK)
        rc = begin_recording(apply, &failure);
    if (rc == DBK_OK && apply->attempt->changes != 0)
        rc = dbk_delta_apply(&apply->delta, &failure);
    if (rc == DBK_OK)
        rc = record(apply, &failure);
    if (rc == DBK_OK)
        rc = dbk_delta_clear(&apply->delta, &failure);
    return judge(apply, rc, &failure, err);
}

/* Most of the notes are read before the write transaction, in which only those are left that came
   meanwhile; and where there are too many, no writer has to wait. */
static int gather_before(struct apply *apply, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_connection_begin(apply->connection, DBK_BEGIN_READ, err);
    if (rc < 0)
        return rc;
    rc = gather(apply, &failure);
    if (rc == DBK_OK)
        rc = choose(apply);
    rc = judge(apply, rc, &failure, err);
    return rc < 0 ? rc : dbk_connection_run(apply->connection, "COMMIT", err);
}

static int run_write(struct apply *apply, int64_t gathering_us, struct dbk_error *err)
{
    struct dbk_os *os = apply->refresh->os;
    bool joined = apply->attempt->joined;
    int rc = joined ? DBK_OK : dbk_connection_begin(apply->connection, DBK_BEGIN_WRITE, err);
    /* Waiting for another writer is no cost of this refresh. */
    int64_t begun_us = os->monotonic_us(os) - gathering_us;
    if (rc == DBK_OK && apply->refresh->owner == NULL)
        rc = dbk_view_catalog_read(apply->connection, name_of(apply), apply->row, err);
    if (rc == DBK_OK)
        rc = look_again(apply, apply->delta.view, err);
    if (rc == DBK_OK)
        rc = apply_difference(apply, err);
    if (rc == DBK_OK)
        rc = move_cursors(apply, err);
    if (rc == DBK_OK)
        rc = write_row(apply, begun_us, err);
    if (rc == DBK_OK && apply->refresh->owner == NULL)
        rc = dbk_recording_end(apply->recording, err);
    else if (rc == DBK_OK && apply->recording != NULL)
        rc = dbk_recording_pause(apply->recording, err);
    apply->attempt->left = apply->attempt->left || apply->own.left;
    return rc < 0 || joined ? rc : dbk_connection_run(apply->connection, "COMMIT", err);
}

static int run(struct apply *apply, struct dbk_error *err)
{
    struct dbk_os *os = apply->refresh->os;
    const struct dbk_algebra *tree = &apply->plan->tree;
    bool *changed = dbk_alloc_zero(tree->relation_count + 1, sizeof(*changed));
    struct dbk_notes *notes = dbk_alloc_zero(tree->relation_count + 1, sizeof(*notes));
    int64_t begun_us = os->monotonic_us(os);
    apply->delta.changed = changed;
    apply->notes = notes;
    apply->reads_log = dbk_logged_reads(tree);
    apply->looked_us = os->now_us(os);
    if (apply->reads_log)
        dbk_logged_take(apply->refresh->store, &apply->now);
    bool placed = apply->attempt->schema >= 0; /* A session's plan has its tables' names. */
    int rc = changed == NULL || notes == NULL ? DBK_ENOMEM : DBK_OK;
    if (rc == DBK_OK && !placed)
        rc = dbk_layout_place(tree, name_of(apply), apply->row->generation);
    if (rc < 0)
        dbk_ignore(dbk_error_set(err, rc, "%s", dbk_code_text(rc)));
    else if (!apply->attempt->joined)
        rc = gather_before(apply, err);
    if (rc == DBK_OK)
        rc = run_write(apply, os->monotonic_us(os) - begun_us, err);
    if (rc < 0 && !apply->attempt->joined && dbk_connection_in_transaction(apply->connection))
        dbk_ignore(dbk_connection_run(apply->connection, "ROLLBACK", NULL));
    dbk_free(changed);
    dbk_free(notes);
    return rc;
}

int dbk_view_apply(const struct dbk_view_refresh *refresh, const struct dbk_view_plan *plan,
                   struct dbk_connection *connection, struct dbk_view_row *row,
                   struct dbk_view_attempt *attempt, struct dbk_error *err)
{
    char table[DBK_VIEW_TABLE_SIZE_MAX];
    struct apply apply = {
        .refresh = refresh, .plan = plan, .connection = connection, .row = row, .attempt = attempt};
    (void)snprintf(table, sizeof(table), "%s__g%llu", refresh->definition->name,
                   (unsigned long long)row->generation);
    apply.recording = refresh->owner == NULL ? &apply.own : refresh->recording;
    apply.delta = (struct dbk_delta){
        .connection = connection, .tree = &plan->tree, .view = table, .labels = plan->names};
    dbk_buf_init(&apply.delta.sql, SQL_SIZE_MAX);
    int rc = run(&apply, err);
    dbk_buf_release(&apply.delta.sql);
    dbk_difference_release(&apply.difference);
    dbk_recording_release(&apply.own);
    if (rc == DBK_OK)
        attempt->done = true;
    return rc == DBK_EREFUSED && attempt->reason[0] != '\0' ? DBK_OK : rc;
}
