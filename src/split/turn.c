/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serving changes sides. At no moment are both written:
 *
 *     hold    writers of the side that serves wait for a lock; the other side gets all they did
 *     close   its gates are closed, and it is committed: whoever waited is told so
 *     open    the other side's sequences are set, what it does is published, its gates open
 *
 * Killed between close and open, none is written until the command is given again. Where the other
 * side cannot be opened soon, the first one is opened again.
 */
#include "split/inside.h"

#define OPEN_NAP_MS 20
/* How long none is written because the side that is to serve cannot be opened. */
#define OPEN_PATIENCE_US (INT64_C(2) * 1000000)

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- Closing and opening ---- */

static int close_side(struct dbk_split *split, enum dbk_split_side side, int64_t *started_us_out,
                      struct dbk_error *err)
{
    struct dbk_connection *connection = split->first[side];
    int rc = dbk_split_hold(split, side, started_us_out, err);
    if (rc < 0)
        return rc;
    rc = dbk_split_make_gates(split, side, err);
    if (rc == DBK_OK)
        return dbk_connection_run(connection, "COMMIT", err);
    dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

/* In a transaction: the publication's first change is what is written from now on. */
static int open_in_transaction(struct dbk_split *split, enum dbk_split_side side, bool publish,
                               struct dbk_error *err)
{
    const struct dbk_split_state *state = &split->state;
    struct dbk_connection *connection = split->first[side];
    enum dbk_split_side other = side == DBK_SPLIT_NEW ? DBK_SPLIT_OLD : DBK_SPLIT_NEW;
    const char *list = dbk_split_tables_list(split);
    const char *way = dbk_split_way(split, other);
    if (list == NULL || way == NULL)
        return no_memory(err);
    int rc = dbk_tell(connection, err, "SET LOCAL lock_timeout = %d", DBK_SPLIT_LOCK_MS);
    if (rc == DBK_OK && publish)
        rc = dbk_split_carry_sequences(split, other, err);
    if (rc == DBK_OK && publish)
        rc = dbk_tell(connection, err, "ALTER PUBLICATION %s SET TABLE %s, %s._%s", way, list,
                      state->home, state->name);
    for (size_t i = 0; rc == DBK_OK && i < state->table_count; i++)
        rc = dbk_tell(connection, err, "ALTER TABLE %s DISABLE TRIGGER %s_gate", state->tables[i],
                      state->name);
    return rc;
}

static int open_side(struct dbk_split *split, enum dbk_split_side side, bool publish,
                     struct dbk_error *err)
{
    struct dbk_connection *connection = split->first[side];
    int64_t end_us = dbk_split_now_us(split) + (publish ? OPEN_PATIENCE_US : DBK_SPLIT_PATIENCE_US);
    for (;;) {
        struct dbk_error failure = {0};
        int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
        if (rc < 0)
            return rc;
        rc = open_in_transaction(split, side, publish, &failure);
        if (rc == DBK_OK)
            return dbk_connection_run(connection, "COMMIT", err);
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
        if (rc != DBK_EBUSY || dbk_split_now_us(split) > end_us)
            return dbk_error_set(err, rc, "%s", failure.message);
        dbk_split_nap(OPEN_NAP_MS);
    }
}

/* ---- Foreign keys that are cut ---- */

/* They hold where the old side serves; elsewhere they would be checked against a copy. */
static int cut_keys(struct dbk_split *split, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < split->state.key_count; i++)
        rc = dbk_split_change(
            split, DBK_SPLIT_OLD,
            dbk_arena_format(&split->work, "ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s",
                             split->state.keys[i].table, split->state.keys[i].name),
            err);
    return rc;
}

/* Such a key was never checked: there may be rows that it would refuse. */
static bool is_not_valid(const char *text)
{
    static const char end[] = " NOT VALID";
    size_t size = strlen(text);
    return size >= sizeof(end) - 1 && strcmp(text + size - (sizeof(end) - 1), end) == 0;
}

static int key_is_there(struct dbk_split *split, const struct dbk_split_key *key, bool *there_out,
                        struct dbk_error *err)
{
    int64_t count = 0;
    const char *const parameters[] = {key->table, key->name, NULL};
    int rc = dbk_ask_number(split->first[DBK_SPLIT_OLD],
                            "SELECT count(*) FROM pg_constraint WHERE conrelid = to_regclass(?1) "
                            "AND quote_ident(conname) = ?2",
                            parameters, &count, err);
    *there_out = count > 0;
    return rc;
}

/* True of what says more of the database than of the key. */
static bool must_end(int rc)
{
    return rc == DBK_ECONNECT || rc == DBK_ENOMEM || rc == DBK_EBUSY;
}

/*
 * What does not hold any more is left, and said: rows may have lost what they refer to while no key
 * kept it.
 */
static int mend_key(struct dbk_split *split, const struct dbk_split_key *key, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    bool there = false;
    bool valid = !is_not_valid(key->text);
    int rc = key_is_there(split, key, &there, err);
    if (rc < 0)
        return rc;
    if (!there)
        rc = dbk_split_change(split, DBK_SPLIT_OLD,
                              dbk_arena_format(&split->work,
                                               "ALTER TABLE %s ADD CONSTRAINT %s %s%s", key->table,
                                               key->name, key->text, valid ? " NOT VALID" : ""),
                              &failure);
    if (rc < 0 && !must_end(rc)) {
        dbk_split_warn(split, "the key %s of %s is not made again: %s", key->name, key->table,
                       failure.message);
        return DBK_OK;
    }
    if (rc == DBK_OK && valid)
        rc = dbk_tell(split->first[DBK_SPLIT_OLD], &failure,
                      "ALTER TABLE %s VALIDATE CONSTRAINT %s", key->table, key->name);
    if (rc == DBK_OK || must_end(rc))
        return rc < 0 ? dbk_error_set(err, rc, "%s", failure.message) : rc;
    dbk_split_warn(split,
                   "the key %s of %s holds for new rows alone: %s; mend the old ones, then `ALTER "
                   "TABLE %s VALIDATE CONSTRAINT %s`",
                   key->name, key->table, failure.message, key->table, key->name);
    return DBK_OK;
}

static int mend_keys(struct dbk_split *split, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < split->state.key_count; i++)
        rc = mend_key(split, &split->state.keys[i], err);
    return rc;
}

/* ---- Turning ---- */

/* Until the target serves. */
static int switch_sides(struct dbk_split *split, enum dbk_split_side target, struct dbk_error *err)
{
    enum dbk_split_side from = target == DBK_SPLIT_NEW ? DBK_SPLIT_OLD : DBK_SPLIT_NEW;
    bool closed = false;
    bool waits = false;
    int64_t started_us = dbk_split_now_us(split);
    int rc = dbk_split_gates_are_closed(split, from, &closed, err);
    if (rc == DBK_OK)
        rc = dbk_split_gates_are_closed(split, target, &waits, err);
    if (rc == DBK_OK && !closed)
        rc = dbk_split_try_reach(split, from, err);
    if (rc == DBK_OK && !closed)
        rc = dbk_split_publish(split, from, false, err);
    if (rc == DBK_OK && !closed)
        rc = close_side(split, from, &started_us, err);
    if (rc == DBK_OK && waits)
        rc = open_side(split, target, true, err);
    if (rc < 0)
        return rc;
    if (waits)
        split->state.pause_us = dbk_split_now_us(split) - started_us;
    return dbk_split_step_to(split, DBK_SPLIT_TURNING, err);
}

/* The other way round from now on. */
static int turn_round(struct dbk_split *split, enum dbk_split_side target, struct dbk_error *err)
{
    enum dbk_split_side from = target == DBK_SPLIT_NEW ? DBK_SPLIT_OLD : DBK_SPLIT_NEW;
    int rc = dbk_split_unfollow(split, target, err);
    if (rc == DBK_OK)
        rc = dbk_split_subscribe(split, from, false, err);
    if (rc == DBK_OK)
        rc = target == DBK_SPLIT_NEW ? cut_keys(split, err) : mend_keys(split, err);
    return rc < 0 ? rc
                  : dbk_split_step_to(
                        split, target == DBK_SPLIT_NEW ? DBK_SPLIT_MOVED : DBK_SPLIT_READY, err);
}

/* A switch that has not opened the target yet is given up: who served before serves again. */
static int give_up(struct dbk_split *split, struct dbk_error *err)
{
    enum dbk_split_side from = split->state.target == DBK_SPLIT_NEW ? DBK_SPLIT_OLD : DBK_SPLIT_NEW;
    bool closed = false;
    bool waits = false;
    int rc = dbk_split_gates_are_closed(split, from, &closed, err);
    if (rc == DBK_OK)
        rc = dbk_split_gates_are_closed(split, split->state.target, &waits, err);
    if (rc == DBK_OK && !waits)
        return dbk_error_set(err, DBK_EREFUSED,
                             "the %s side serves already: go on with that command first",
                             dbk_split_side_text(split->state.target));
    if (rc == DBK_OK && closed)
        rc = open_side(split, from, false, err);
    /* A slot that nobody reads keeps the log of its server until the disk is full. */
    if (rc == DBK_OK)
        rc = dbk_split_unfollow(split, from, err);
    if (rc < 0)
        return rc;
    split->state.target = from;
    return dbk_split_step_to(split, from == DBK_SPLIT_NEW ? DBK_SPLIT_MOVED : DBK_SPLIT_READY, err);
}

/* Who served before goes on, where no lock was to be had. */
static int try_switch(struct dbk_split *split, enum dbk_split_side target, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = switch_sides(split, target, &failure);
    if (rc == DBK_OK)
        return DBK_OK;
    if (rc != DBK_EBUSY || give_up(split, err) < 0)
        return dbk_error_set(err, rc, "%s", failure.message);
    return dbk_error_set(err, rc, "the %s side serves on: %s",
                         dbk_split_side_text(split->state.target), failure.message);
}

static int check_turn(const struct dbk_split *split, enum dbk_split_side target,
                      struct dbk_error *err)
{
    const struct dbk_split_state *state = &split->state;
    bool under_way = state->step == DBK_SPLIT_SWITCHING || state->step == DBK_SPLIT_TURNING;
    if (state->step == (target == DBK_SPLIT_NEW ? DBK_SPLIT_READY : DBK_SPLIT_MOVED) ||
        (under_way && state->target == target) || state->step == DBK_SPLIT_SWITCHING)
        return DBK_OK;
    if (state->step == DBK_SPLIT_NONE)
        return dbk_error_set(err, DBK_ENOTFOUND, "there is no split of %s: begin it with --to",
                             state->service);
    return dbk_error_set(err, DBK_EREFUSED,
                         "the split of %s is %s: `daybook service split %s --status` says what can "
                         "be done",
                         state->service, dbk_split_step_text(state->step), state->service);
}

int dbk_split_turn(struct dbk_split *split, enum dbk_split_side target, struct dbk_error *err)
{
    if (split->state.step == (target == DBK_SPLIT_NEW ? DBK_SPLIT_MOVED : DBK_SPLIT_READY))
        return DBK_OK;
    int rc = check_turn(split, target, err);
    if (rc == DBK_OK)
        rc = dbk_split_connect(split, err);
    if (rc == DBK_OK && split->state.step == DBK_SPLIT_SWITCHING && split->state.target != target)
        return give_up(split, err);
    if (rc == DBK_OK &&
        (split->state.step == DBK_SPLIT_READY || split->state.step == DBK_SPLIT_MOVED)) {
        split->state.target = target;
        rc = dbk_split_step_to(split, DBK_SPLIT_SWITCHING, err);
    }
    if (rc == DBK_OK && split->state.step == DBK_SPLIT_SWITCHING)
        rc = try_switch(split, target, err);
    return rc < 0 ? rc : turn_round(split, target, err);
}
