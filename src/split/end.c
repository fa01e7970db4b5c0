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
    rc = dbk_tell(connection, &failure, "SET LOCAL lock_timeout = '5s'; DROP TABLE IF EXISTS %s",
                  list);
    if (rc == DBK_OK && really)
        return dbk_connection_run(connection, "COMMIT", err);
    dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc < 0 ? dbk_error_set(err, rc,
                                  "the old tables cannot be dropped (%s): what stands on them has "
                                  "to go first; nothing was changed",
                                  failure.message)
                  : DBK_OK;
}

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

int dbk_split_confirm(struct dbk_split *split, struct dbk_error *err)
{
    int rc = check_step(split, DBK_SPLIT_CONFIRMING, DBK_SPLIT_MOVED, DBK_SPLIT_MOVED,
                        "only what has moved can be confirmed: --switch it first", err);
    if (rc == DBK_OK)
        rc = dbk_split_connect(split, err);
    if (rc == DBK_OK)
        rc = check_closed(split, err);
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

static int take_lag(void *context, const char *const *columns, struct dbk_error *err)
{
    struct dbk_split_lag *lag = context;
    lag->follows = true;
    lag->active = columns[0] != NULL && columns[0][0] == '1';
    if ((columns[1] != NULL && !dbk_slice_to_i64(dbk_slice_of(columns[1]), &lag->behind_size)) ||
        (columns[2] != NULL && !dbk_slice_to_i64(dbk_slice_of(columns[2]), &lag->kept_size)))
        return dbk_error_set(err, DBK_ECORRUPT, "the database answered no number");
    return DBK_OK;
}

int dbk_split_lag(struct dbk_split *split, struct dbk_split_lag *lag_out, struct dbk_error *err)
{
    struct dbk_split_lag lag = {0};
    enum dbk_split_step step = split->state.step;
    enum dbk_split_side from = step == DBK_SPLIT_MOVED ? DBK_SPLIT_NEW : DBK_SPLIT_OLD;
    struct dbk_connection *connection = NULL;
    *lag_out = lag;
    if (step != DBK_SPLIT_STARTING && step != DBK_SPLIT_READY && step != DBK_SPLIT_MOVED)
        return DBK_OK;
    const char *const way[] = {
        dbk_split_way(split, from == DBK_SPLIT_OLD ? DBK_SPLIT_NEW : DBK_SPLIT_OLD), NULL};
    if (way[0] == NULL)
        return no_memory(err);
    int rc =
        dbk_connection_open(split->state.places[from].address, DBK_CONNECT_READ, &connection, err);
    if (rc == DBK_OK)
        rc = dbk_ask(connection,
                     "SELECT active::int, pg_wal_lsn_diff(pg_current_wal_lsn(), "
                     "confirmed_flush_lsn)::bigint, pg_wal_lsn_diff(pg_current_wal_lsn(), "
                     "restart_lsn)::bigint FROM pg_replication_slots WHERE slot_name = ?1",
                     way, take_lag, &lag, err);
    dbk_connection_free(connection);
    if (rc == DBK_OK)
        *lag_out = lag;
    return rc;
}
