/* SPDX-License-Identifier: Apache-2.0 */
/* How a split ends: for good, or as if it had not been. */
#include "split/inside.h"

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static int check_step(const struct dbk_split *split, enum dbk_split_step under_way,
                      enum dbk_split_step one, enum dbk_split_step other, const char *what,
                      struct dbk_error *err)
{
    enum dbk_split_step step = split->state.step;
    if (step == under_way || step == one || step == other)
        return DBK_OK;
    if (step == DBK_SPLIT_NONE)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no split of %s: begin it with --to",
                             split->state.service);
    return dbk_error_set(err, DBK_EREFUSED, "the split of %s is %s: %s", split->state.service,
                         dbk_split_step_text(step), what);
}

/* ---- For good ---- */

/* What is dropped is what is not written any more, whatever its address leads to now. */
static int check_closed(struct dbk_split *split, struct dbk_error *err)
{
    int64_t open = 0;
    const char *const parameters[] = {dbk_arena_format(&split->work, "%s_gate", split->state.name),
                                      dbk_split_tables_json(split), NULL};
    if (parameters[0] == NULL || parameters[1] == NULL)
        return no_memory(err);
    int rc = dbk_ask_number(split->first[DBK_SPLIT_OLD],
                            "SELECT count(*) FROM jsonb_array_elements_text(?2::jsonb) x WHERE "
                            "to_regclass(x) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_trigger "
                            "WHERE tgrelid = to_regclass(x) AND tgname = ?1 AND tgenabled = 'O')",
                            parameters, &open, err);
    if (rc < 0 || open == 0)
        return rc;
    return dbk_error_set(err, DBK_EREFUSED,
                         "the old database's tables can be written: they are not those that were "
                         "split, or somebody opened them; nothing was changed");
}

/* Those that are there: a command before may have dropped them. */
static int lock_tables(struct dbk_split *split, struct dbk_error *err)
{
    struct dbk_connection *connection = split->first[DBK_SPLIT_OLD];
    const char *list = NULL;
    const char *const tables[] = {dbk_split_tables_json(split), NULL};
    if (tables[0] == NULL)
        return no_memory(err);
    int rc = dbk_ask_text(connection,
                          "SELECT string_agg(x, ', ') FROM jsonb_array_elements_text(?1::jsonb) x "
                          "WHERE to_regclass(x) IS NOT NULL",
                          tables, &split->work, &list, err);
    return rc < 0 || list == NULL
               ? rc
               : dbk_tell(connection, err, "LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", list);
}

/* What else stands on the old tables is found before anything is ended. */
static int drop_tables(struct dbk_split *split, bool really, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    struct dbk_connection *connection = split->first[DBK_SPLIT_OLD];
    const char *list = dbk_split_tables_list(split);
    if (list == NULL)
        return no_memory(err);
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    rc = dbk_tell(connection, &failure, "SET LOCAL lock_timeout = '5s'");
    if (rc == DBK_OK)
        rc = lock_tables(split, &failure);
    /* Nobody opens them behind this. */
    int closed = rc == DBK_OK ? check_closed(split, err) : DBK_OK;
    if (rc == DBK_OK && closed == DBK_OK)
        rc = dbk_tell(connection, &failure, "DROP TABLE IF EXISTS %s", list);
    if (rc == DBK_OK && closed == DBK_OK && really)
        return dbk_connection_run(connection, "COMMIT", err);
    dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    if (closed < 0)
        return closed;
    return rc < 0 ? dbk_error_set(err, rc,
                                  "the old tables cannot be dropped (%s): what stands on them has "
                                  "to go first; nothing was changed",
                                  failure.message)
                  : DBK_OK;
}

int dbk_split_confirm(struct dbk_split *split, struct dbk_error *err)
{
    int rc = check_step(split, DBK_SPLIT_CONFIRMING, DBK_SPLIT_MOVED, DBK_SPLIT_MOVED,
                        "only what has moved can be confirmed: --switch it first", err);
    if (rc == DBK_OK)
        rc = dbk_split_connect(split, err);
    if (rc == DBK_OK && split->state.step == DBK_SPLIT_MOVED)
        rc = drop_tables(split, false, err);
    if (rc == DBK_OK)
        rc = dbk_split_step_to(split, DBK_SPLIT_CONFIRMING, err);
    if (rc == DBK_OK)
        rc = dbk_split_unfollow(split, DBK_SPLIT_OLD, err);
    if (rc == DBK_OK)
        rc = drop_tables(split, true, err);
    if (rc == DBK_OK)
        rc = dbk_tell(split->first[DBK_SPLIT_OLD], err, "DROP FUNCTION IF EXISTS %s._%s_gate()",
                      split->state.home, split->state.name);
    if (rc == DBK_OK)
        rc = dbk_split_drop_mark(split, DBK_SPLIT_OLD, err);
    if (rc == DBK_OK)
        rc = dbk_split_drop_gates(split, DBK_SPLIT_NEW, err);
    if (rc == DBK_OK)
        rc = dbk_split_drop_mark(split, DBK_SPLIT_NEW, err);
    if (rc == DBK_OK)
        rc = dbk_tell(
            split->first[DBK_SPLIT_NEW], err,
            "DO $do$ DECLARE s text; BEGIN FOR s IN SELECT nspname FROM pg_namespace WHERE "
            "obj_description(oid, 'pg_namespace') = '%s' LOOP EXECUTE format('COMMENT ON "
            "SCHEMA %%I IS NULL', s); END LOOP; END $do$",
            split->state.name);
    return rc < 0 ? rc : dbk_split_forget(split, err);
}

/* ---- Back to where it was ---- */

int dbk_split_abort(struct dbk_split *split, struct dbk_error *err)
{
    int rc =
        check_step(split, DBK_SPLIT_ABORTING, DBK_SPLIT_STARTING, DBK_SPLIT_READY,
                   "it can be taken back only while the old database serves: --back first", err);
    if (rc == DBK_OK)
        rc = dbk_split_connect(split, err);
    if (rc == DBK_OK)
        rc = dbk_split_step_to(split, DBK_SPLIT_ABORTING, err);
    for (int to = 1; rc == DBK_OK && to >= 0; to--)
        rc = dbk_split_unfollow(split, (enum dbk_split_side)to, err);
    if (rc == DBK_OK)
        rc = dbk_split_unmake(split, err);
    if (rc == DBK_OK)
        rc = dbk_split_drop_gates(split, DBK_SPLIT_OLD, err);
    if (rc == DBK_OK)
        rc = dbk_split_drop_mark(split, DBK_SPLIT_OLD, err);
    return rc < 0 ? rc : dbk_split_forget(split, err);
}

/* ---- Between ---- */

struct looking {
    struct dbk_split *split;
    struct dbk_split_slot *slot;
    bool there;
};

static int take_slot(void *context, const char *const *columns, struct dbk_error *err)
{
    struct looking *looking = context;
    struct dbk_split_slot *slot = looking->slot;
    looking->there = true;
    slot->active = columns[0] != NULL && columns[0][0] == '1';
    slot->wal_status =
        dbk_arena_copy(&looking->split->work, dbk_slice_of(columns[1] == NULL ? "" : columns[1]))
            .data;
    if (slot->wal_status == NULL)
        return no_memory(err);
    if ((columns[2] != NULL && !dbk_slice_to_i64(dbk_slice_of(columns[2]), &slot->behind_size)) ||
        (columns[3] != NULL && !dbk_slice_to_i64(dbk_slice_of(columns[3]), &slot->kept_size)))
        return dbk_error_set(err, DBK_ECORRUPT, "the database answered no number");
    return DBK_OK;
}

/* 1: it is there; 0: it is not. */
static int look_at_slot(struct dbk_split *split, enum dbk_split_side from,
                        struct dbk_split_slot *slot, struct dbk_error *err)
{
    struct dbk_connection *connection = NULL;
    struct looking looking = {.split = split, .slot = slot};
    slot->from = from;
    slot->name = dbk_split_way(split, from == DBK_SPLIT_OLD ? DBK_SPLIT_NEW : DBK_SPLIT_OLD);
    const char *const name[] = {slot->name, NULL};
    if (name[0] == NULL)
        return no_memory(err);
    int rc =
        dbk_connection_open(split->state.places[from].address, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_ask(connection,
                     "SELECT active::int, wal_status, pg_wal_lsn_diff(pg_current_wal_lsn(), "
                     "confirmed_flush_lsn)::bigint, pg_wal_lsn_diff(pg_current_wal_lsn(), "
                     "restart_lsn)::bigint FROM pg_replication_slots WHERE slot_name = ?1",
                     name, take_slot, &looking, err);
    dbk_connection_free(connection);
    return rc < 0 ? rc : looking.there;
}

/* What is wrong with a slot, and what can be done; NULL: nothing. */
static const char *fault_of(const struct dbk_split *split, const struct dbk_split_slot *slot)
{
    enum dbk_split_step step = split->state.step;
    if (strcmp(slot->wal_status, "unreserved") == 0)
        return "is about to be lost: let the side that follows catch up, or raise "
               "max_slot_wal_keep_size there";
    if (strcmp(slot->wal_status, "lost") != 0)
        return NULL;
    if (step == DBK_SPLIT_STARTING || step == DBK_SPLIT_READY)
        return "is lost: its server has removed what the new side has not got: --abort, and begin "
               "anew";
    if (step == DBK_SPLIT_MOVED)
        return "is lost: its server has removed what the old side has not got: there is no way "
               "back without it, --confirm ends it";
    return "is lost: its server has removed what the other side has not got";
}

static int judge(struct dbk_split *split, const struct dbk_split_slots *slots, const bool asked[2],
                 struct dbk_error *err)
{
    enum dbk_split_step step = split->state.step;
    enum dbk_split_side from = step == DBK_SPLIT_MOVED ? DBK_SPLIT_NEW : DBK_SPLIT_OLD;
    bool follows = step != DBK_SPLIT_READY && step != DBK_SPLIT_MOVED;
    for (size_t i = 0; i < slots->count; i++) {
        const char *fault = fault_of(split, &slots->items[i]);
        if (fault != NULL)
            return dbk_error_set(err, DBK_EREFUSED, "the slot %s of the %s server %s",
                                 slots->items[i].name, dbk_split_side_text(slots->items[i].from),
                                 fault);
        follows = follows || slots->items[i].from == from;
    }
    return follows || !asked[from]
               ? DBK_OK
               : dbk_error_set(err, DBK_EREFUSED,
                               "the %s server has no slot for the %s side any more, which misses "
                               "what is written from then on",
                               dbk_split_side_text(from), dbk_split_side_text(!from));
}

int dbk_split_look_at_slots(struct dbk_split *split, struct dbk_split_slots *slots_out,
                            struct dbk_error *fault_out, struct dbk_error *err)
{
    bool asked[2] = {false, false};
    *slots_out = (struct dbk_split_slots){0};
    *fault_out = (struct dbk_error){0};
    if (split->state.step == DBK_SPLIT_NONE)
        return DBK_OK;
    for (int side = 0; side < 2; side++) {
        struct dbk_error failure = {0};
        struct dbk_split_slot *slot = &slots_out->items[slots_out->count];
        int rc = look_at_slot(split, (enum dbk_split_side)side, slot, &failure);
        if (rc < 0 && rc != DBK_ECONNECT)
            return dbk_error_set(err, rc, "%s", failure.message);
        if (rc < 0)
            dbk_split_warn(split, "the %s database is not asked: %s",
                           dbk_split_side_text((enum dbk_split_side)side), failure.message);
        asked[side] = rc >= 0;
        slots_out->count += rc > 0 ? 1 : 0;
    }
    dbk_ignore(judge(split, slots_out, asked, fault_out));
    return DBK_OK;
}
