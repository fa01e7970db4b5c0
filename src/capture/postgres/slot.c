/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The publication and the slot in the server. Both have one name, which the book's id is in: no
 * other book has the same.
 *
 *     nothing stored -> note "creating" -> drop what is left, create, note the position -> stream
 *     a position     -> the slot must be there, and not be past it
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "capture/postgres/state.h"

#define SQL_SIZE_MAX ((size_t)1 << 20)
/* So much kept for us is worth a warning where the server has no limit of its own. */
#define RETAINED_WARNING (UINT64_C(4) << 30)
/* The server ends a walsender whose client is gone within moments. */
#define END_TRIES 100
#define END_WAIT_MS 50

static int no_memory(const struct source *source, struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "out of memory capturing %s",
                         source->options.service->name);
}

static int ask(struct source *source, struct dbk_buf *sql, PGresult **result_out,
               struct dbk_error *err)
{
    dbk_buf_append_char(sql, '\0');
    int rc = sql->rc < 0 ? no_memory(source, err)
                         : dbk_pg_ask(source, source->sql, sql->data, result_out, err);
    dbk_buf_release(sql);
    return rc;
}

/* ---- The publication ---- */

static void put_table(const struct table *table, struct dbk_buf *out)
{
    dbk_pg_put_name(out, dbk_slice_of(table->space));
    dbk_buf_append_char(out, '.');
    dbk_pg_put_name(out, dbk_slice_of(table->definition->name));
}

/* Which tables the publication has; filtered_out names one that it has not wholly. */
static int is_published(struct source *source, const struct table *table, bool *published_out,
                        struct dbk_error *err)
{
    struct dbk_buf sql;
    PGresult *result = NULL;
    bool has_filters = PQserverVersion(source->sql) >= 150000;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql,
                          "SELECT %s FROM pg_publication_tables WHERE pubname = '%s' AND "
                          "schemaname = ",
                          has_filters ? "rowfilter IS NOT NULL" : "false", source->slot);
    dbk_pg_put_literal(&sql, dbk_slice_of(table->space));
    dbk_buf_append_text(&sql, " AND tablename = ");
    dbk_pg_put_literal(&sql, dbk_slice_of(table->definition->name));
    int rc = ask(source, &sql, &result, err);
    if (rc < 0)
        return rc;
    *published_out = PQntuples(result) > 0;
    bool filtered = *published_out && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    return filtered ? dbk_error_set(err, DBK_EINVAL,
                                    "the publication %s leaves out rows of %s: ALTER PUBLICATION "
                                    "\"%s\" SET TABLE without WHERE",
                                    source->slot, table->definition->name, source->slot)
                    : DBK_OK;
}

static int publication_exists(struct source *source, bool *exists_out, struct dbk_error *err)
{
    struct dbk_buf sql;
    PGresult *result = NULL;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql, "SELECT 1 FROM pg_publication WHERE pubname = '%s'", source->slot);
    int rc = ask(source, &sql, &result, err);
    *exists_out = rc == DBK_OK && PQntuples(result) > 0;
    PQclear(result);
    return rc;
}

/* Adds the tables that are missing, or says how somebody who may do it does. */
static int publish(struct source *source, bool exists, const bool *published, struct dbk_error *err)
{
    struct dbk_buf sql;
    struct dbk_error why = {0};
    bool first = true;
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql,
                          exists ? "ALTER PUBLICATION \"%s\" ADD TABLE "
                                 : "CREATE PUBLICATION \"%s\" FOR TABLE ",
                          source->slot);
    for (size_t i = 0; i < source->table_count; i++) {
        const struct table *table = &source->tables[i];
        if (table->definition->kind != DBK_CAPTURE_CDC || published[i])
            continue;
        if (!first)
            dbk_buf_append_text(&sql, ", ");
        first = false;
        put_table(table, &sql);
    }
    if (!exists)
        dbk_buf_append_text(&sql, " WITH (publish_via_partition_root = true)");
    dbk_buf_append_char(&sql, '\0');
    if (first) {
        dbk_buf_release(&sql);
        return DBK_OK;
    }
    int rc = sql.rc < 0 ? no_memory(source, err) : dbk_pg_run(source, source->sql, sql.data, &why);
    if (rc == DBK_EDENIED)
        rc = dbk_error_set(err, rc,
                           "the publication of %s is missing, and its user may not make it: "
                           "somebody who owns the tables runs %.500s",
                           source->options.service->name, sql.data);
    else if (rc < 0 && err != NULL && why.code != DBK_OK)
        *err = why;
    dbk_buf_release(&sql);
    return rc;
}

/* The id from which on no transaction is that began before now. */
static int next_transaction(struct source *source, uint64_t *id_out, struct dbk_error *err)
{
    PGresult *result = NULL;
    int rc = dbk_pg_ask(source, source->sql, "SELECT pg_snapshot_xmax(pg_current_snapshot())",
                        &result, err);
    if (rc == DBK_OK && !dbk_slice_to_u64(dbk_pg_value(result, 0, 0), id_out))
        rc = dbk_error_set(err, DBK_ESCRIPT, "PostgreSQL answers \"%s\" as a transaction's id",
                           PQgetvalue(result, 0, 0));
    PQclear(result);
    return rc;
}

static int prepare_publication(struct source *source, struct dbk_error *err)
{
    bool exists = false;
    bool *published = dbk_arena_alloc_zero(&source->arena, source->table_count + 1, sizeof(bool));
    int rc = published == NULL ? no_memory(source, err) : publication_exists(source, &exists, err);
    for (size_t i = 0; exists && rc == DBK_OK && i < source->table_count; i++) {
        if (source->tables[i].definition->kind == DBK_CAPTURE_CDC)
            rc = is_published(source, &source->tables[i], &published[i], err);
    }
    return rc < 0 ? rc : publish(source, exists, published, err);
}

/* ---- The slot ---- */

struct slot {
    bool exists;
    bool active;
    bool lost;
    int active_pid;
    uint64_t confirmed;
    char status[32];
    uint64_t retained;
    int64_t safe; /* bytes until it may be lost; -1: no limit */
};

static int look_at_slot(struct source *source, struct slot *slot, struct dbk_error *err)
{
    struct dbk_buf sql;
    PGresult *result = NULL;
    *slot = (struct slot){.safe = -1};
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql,
                          "SELECT active, active_pid, confirmed_flush_lsn, wal_status, "
                          "safe_wal_size, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 "
                          "FROM pg_replication_slots WHERE slot_name = '%s'",
                          source->slot);
    int rc = ask(source, &sql, &result, err);
    if (rc < 0)
        return rc;
    slot->exists = PQntuples(result) > 0;
    if (slot->exists) {
        uint64_t number = 0;
        slot->active = PQgetvalue(result, 0, 0)[0] == 't';
        if (dbk_slice_to_u64(dbk_pg_value(result, 0, 1), &number))
            slot->active_pid = (int)number;
        bool known = dbk_lsn_parse(dbk_pg_value(result, 0, 2), &slot->confirmed);
        (void)snprintf(slot->status, sizeof(slot->status), "%s", PQgetvalue(result, 0, 3));
        slot->lost = !known || strcmp(slot->status, "lost") == 0;
        (void)dbk_slice_to_i64(dbk_pg_value(result, 0, 4), &slot->safe);
        (void)dbk_slice_to_u64(dbk_pg_value(result, 0, 5), &slot->retained);
    }
    PQclear(result);
    return DBK_OK;
}

static int note(struct source *source, bool creating, struct dbk_error *err)
{
    struct dbk_buf state;
    dbk_buf_init(&state, SQL_SIZE_MAX);
    dbk_pg_put_state(source, creating, &state);
    int rc = state.rc < 0
                 ? no_memory(source, err)
                 : source->options.note(source->options.context, dbk_buf_slice(&state), err);
    dbk_buf_release(&state);
    return rc;
}

static int drop_slot(struct source *source, const struct slot *slot, struct dbk_error *err)
{
    struct dbk_buf sql;
    if (!slot->exists)
        return DBK_OK;
    if (slot->active)
        return dbk_error_set(err, DBK_EBUSY,
                             "the slot %s is in use by the server's process %d: end that one",
                             source->slot, slot->active_pid);
    dbk_buf_init(&sql, SQL_SIZE_MAX);
    dbk_buf_append_format(&sql, "SELECT pg_drop_replication_slot('%s')", source->slot);
    return ask(source, &sql, NULL, err);
}

/* Waits for transactions that are open now to end: that is how a slot begins. */
static int create_slot(struct source *source, struct dbk_error *err)
{
    char sql[160];
    PGresult *result = NULL;
    (void)snprintf(
        sql, sizeof(sql), "CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput %s", source->slot,
        PQserverVersion(source->stream) >= 150000 ? "(SNAPSHOT 'nothing')" : "NOEXPORT_SNAPSHOT");
    int rc = dbk_pg_ask(source, source->stream, sql, &result, err);
    if (rc < 0)
        return rc;
    if (!dbk_lsn_parse(dbk_pg_value(result, 0, 1), &source->lsn))
        rc = dbk_error_set(err, DBK_ESCRIPT, "PostgreSQL made a slot at \"%s\"",
                           PQgetvalue(result, 0, 1));
    PQclear(result);
    return rc;
}

static void begin_table(const struct source *source, struct table *table, uint64_t behind)
{
    table->phase = PHASE_READ;
    table->cursor_count = 0;
    table->until = source->options.last_position(source->options.context);
    table->swept = 0;
    table->rows = 0;
    table->behind = behind;
}

static int make_slot(struct source *source, const struct slot *slot, struct dbk_error *err)
{
    int rc = note(source, true, err);
    if (rc == DBK_OK)
        rc = drop_slot(source, slot, err);
    if (rc == DBK_OK)
        rc = create_slot(source, err);
    for (size_t i = 0; rc == DBK_OK && i < source->table_count; i++)
        begin_table(source, &source->tables[i], 0);
    return rc < 0 ? rc : note(source, false, err);
}

static int check_slot(const struct source *source, const struct slot *slot, struct dbk_error *err)
{
    char ours[DBK_LSN_TEXT_SIZE];
    char theirs[DBK_LSN_TEXT_SIZE];
    const char *name = source->options.service->name;
    dbk_lsn_format(source->lsn, ours);
    dbk_lsn_format(slot->confirmed, theirs);
    if (!slot->exists)
        return dbk_error_set(err, DBK_EDENIED,
                             "the slot %s is gone from the server, and changes behind %s with it: "
                             "`daybook capture resnapshot %s` reads the tables again",
                             source->slot, ours, name);
    if (slot->lost)
        return dbk_error_set(err, DBK_EDENIED,
                             "the slot %s was invalidated (max_slot_wal_keep_size), and changes "
                             "behind %s are lost: `daybook capture resnapshot %s` reads the tables "
                             "again",
                             source->slot, ours, name);
    if (slot->confirmed > source->lsn)
        return dbk_error_set(err, DBK_EDENIED,
                             "the slot %s was moved to %s by somebody else, and changes behind %s "
                             "are lost: `daybook capture resnapshot %s` reads the tables again",
                             source->slot, theirs, ours, name);
    return DBK_OK;
}

/* Tables that came since are read, once all transactions are over that the publication did not
   have them for. A wish to read everything again is for all tables. */
static int begin_tables(struct source *source, struct dbk_error *err)
{
    uint64_t behind = 0;
    bool begun = false;
    for (size_t i = 0; i < source->table_count; i++) {
        struct table *table = &source->tables[i];
        if (table->definition->kind != DBK_CAPTURE_CDC ||
            (table->phase != PHASE_NEW && !source->options.resnapshot))
            continue;
        if (behind == 0) {
            int rc = next_transaction(source, &behind, err);
            if (rc < 0)
                return rc;
        }
        begin_table(source, table, behind);
        begun = true;
    }
    return begun ? note(source, false, err) : DBK_OK;
}

int dbk_pg_prepare(struct source *source, struct dbk_error *err)
{
    struct slot slot;
    struct dbk_error why = {0};
    int rc = prepare_publication(source, err);
    if (rc == DBK_OK)
        rc = look_at_slot(source, &slot, err);
    if (rc < 0)
        return rc;
    if (source->lsn == 0)
        return make_slot(source, &slot, err);
    rc = check_slot(source, &slot, &why);
    if (rc < 0 && source->options.resnapshot)
        return make_slot(source, &slot, err);
    if (rc < 0) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    return begin_tables(source, err);
}

int dbk_pg_start(struct source *source, struct dbk_error *err)
{
    char sql[256];
    char lsn[DBK_LSN_TEXT_SIZE];
    PGresult *result = NULL;
    dbk_lsn_format(source->lsn, lsn);
    (void)snprintf(sql, sizeof(sql),
                   "START_REPLICATION SLOT \"%s\" LOGICAL %s (%s, publication_names '\"%s\"')",
                   source->slot, lsn,
                   PQserverVersion(source->stream) >= 140000 ? "proto_version '2', streaming 'on'"
                                                             : "proto_version '1'",
                   source->slot);
    int rc = dbk_pg_ask(source, source->stream, sql, &result, err);
    if (rc == DBK_OK && PQresultStatus(result) != PGRES_COPY_BOTH)
        rc = dbk_error_set(err, DBK_ESCRIPT, "PostgreSQL does not begin to stream");
    PQclear(result);
    return rc;
}

/* ---- Health ---- */

static void warn(struct source *source, const struct slot *slot)
{
    struct dbk_source_status *health = &source->health;
    const struct dbk_capture_slot *settings = &source->options.service->slot;
    health->warning[0] = 0;
    if (strcmp(slot->status, "unreserved") == 0)
        (void)snprintf(health->warning, sizeof(health->warning),
                       "the server is about to drop what it keeps for the slot %s: capture is "
                       "%" PRIu64 " bytes behind; raise max_slot_wal_keep_size",
                       source->slot, slot->retained);
    else if (slot->safe >= 0 && (uint64_t)slot->safe < slot->retained / 3)
        (void)snprintf(health->warning, sizeof(health->warning),
                       "the server keeps %" PRIu64 " bytes for the slot %s, and drops it %" PRId64
                       " bytes from now",
                       slot->retained, source->slot, slot->safe);
    else if (settings->warn_size > 0 && slot->retained > settings->warn_size)
        (void)snprintf(health->warning, sizeof(health->warning),
                       "the server keeps %" PRIu64
                       " bytes for the slot %s, more than `warn` in %s: "
                       "look for a transaction that stays open, or for what holds the capture up",
                       slot->retained, source->slot, source->options.service->file);
    else if (settings->warn_size == 0 && slot->safe < 0 && slot->retained > RETAINED_WARNING)
        (void)snprintf(health->warning, sizeof(health->warning),
                       "the server keeps %" PRIu64 " bytes for the slot %s, without a limit: set "
                       "max_slot_wal_keep_size",
                       slot->retained, source->slot);
}

/* The server's disk is worth more than what is not captured yet: so the service's file says. */
static int give_up(struct source *source, struct slot *slot, struct dbk_error *err)
{
    char lsn[DBK_LSN_TEXT_SIZE];
    uint64_t retained = slot->retained;
    int rc = DBK_OK;
    PQfinish(source->stream);
    source->stream = NULL;
    for (int i = 0; rc == DBK_OK && slot->active && i < END_TRIES; i++) {
        (void)poll(NULL, 0, END_WAIT_MS);
        rc = look_at_slot(source, slot, err);
    }
    if (rc == DBK_OK)
        rc = drop_slot(source, slot, err);
    if (rc < 0)
        return rc;
    dbk_lsn_format(source->lsn, lsn);
    return dbk_error_set(
        err, DBK_EDENIED,
        "the server kept %" PRIu64 " bytes for the slot %s, more than `stop` in %s: "
        "it was dropped, and changes behind %s are lost. See what held the capture "
        "up, then `daybook capture resnapshot %s` reads the tables again",
        retained, source->slot, source->options.service->file, lsn, source->options.service->name);
}

int dbk_pg_look(struct source *source, struct dbk_error *err)
{
    struct slot slot;
    const struct dbk_capture_slot *settings = &source->options.service->slot;
    int64_t now_us = source->options.os->monotonic_us(source->options.os);
    if (source->piece.state == PIECE_ASKED || now_us - source->health_us < settings->every_us)
        return DBK_OK;
    source->health_us = now_us;
    int rc = look_at_slot(source, &slot, err);
    if (rc < 0)
        return rc;
    (void)snprintf(source->health.health, sizeof(source->health.health), "%s", slot.status);
    source->health.retained_bytes = slot.retained;
    warn(source, &slot);
    return settings->stop_size > 0 && slot.exists && slot.retained > settings->stop_size
               ? give_up(source, &slot, err)
               : DBK_OK;
}
