/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "json/json.h"
#include "split/inside.h"

#define ARENA_SIZE_MAX ((size_t)64 << 20)
#define STATE_SIZE_MAX ((size_t)4 << 20)

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- Opening ---- */

int dbk_split_open(const struct dbk_split_options *options, struct dbk_split **split_out,
                   struct dbk_error *err)
{
    struct dbk_split *split = dbk_alloc_zero(1, sizeof(*split));
    if (split == NULL)
        return no_memory(err);
    split->options = *options;
    split->state.service = options->service;
    dbk_arena_init(&split->arena, ARENA_SIZE_MAX);
    dbk_arena_init(&split->work, ARENA_SIZE_MAX);
    split->path = dbk_arena_format(&split->arena, "%s/%s.json", options->folder, options->service);
    int rc = split->path == NULL ? no_memory(err) : dbk_split_load(split, err);
    if (rc < 0) {
        dbk_split_free(split);
        return rc;
    }
    *split_out = split;
    return DBK_OK;
}

void dbk_split_free(struct dbk_split *split)
{
    if (split == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        dbk_connection_free(split->first[i]);
        dbk_connection_free(split->second[i]);
    }
    dbk_arena_release(&split->work);
    dbk_arena_release(&split->arena);
    dbk_free(split->known);
    dbk_free(split);
}

const struct dbk_split_state *dbk_split_state(const struct dbk_split *split)
{
    return &split->state;
}

/* ---- Connecting ---- */

static int connect_side(struct dbk_split *split, enum dbk_split_side side, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    const char *address = split->state.places[side].address;
    int rc = dbk_connection_open(address, 0, &split->first[side], &failure);
    if (rc == DBK_OK)
        rc = dbk_connection_open(address, 0, &split->second[side], &failure);
    if (rc < 0)
        return dbk_error_set(err, rc, "the %s database: %s", dbk_split_side_text(side),
                             failure.message);
    /* What is committed must be in the log when it is looked for. */
    static const char *const settings = "SET synchronous_commit = local; SET search_path = "
                                        "pg_catalog; SET jit = off; SET statement_timeout = 0";
    /* Nobody but a superuser may: a connection string stays out of the server's log, and what
       vacuums a table by itself gives way before a wait for a lock is given up. */
    static const char *const quiet =
        "SELECT set_config(name, value, false) FROM (VALUES ('log_statement', 'none'), "
        "('log_min_duration_statement', '-1'), ('log_min_error_statement', 'panic'), "
        "('log_duration', 'off'), ('pg_stat_statements.track_utility', 'off'), "
        "('deadlock_timeout', '50ms')) s(name, value) WHERE (SELECT rolsuper FROM pg_roles WHERE "
        "rolname = current_user)";
    struct dbk_connection *connections[] = {split->first[side], split->second[side]};
    for (size_t i = 0; rc == DBK_OK && i < 2; i++) {
        rc = dbk_connection_run(connections[i], settings, err);
        if (rc == DBK_OK)
            rc = dbk_ask(connections[i], quiet, NULL, NULL, NULL, err);
    }
    return rc;
}

int dbk_split_open_sides(struct dbk_split *split, struct dbk_error *err)
{
    int rc = split->first[DBK_SPLIT_OLD] == NULL ? connect_side(split, DBK_SPLIT_OLD, err) : DBK_OK;
    if (rc == DBK_OK && split->first[DBK_SPLIT_NEW] == NULL)
        rc = connect_side(split, DBK_SPLIT_NEW, err);
    return rc;
}

int dbk_split_connect(struct dbk_split *split, struct dbk_error *err)
{
    int64_t locked = 0;
    const char *const name[] = {split->state.name, NULL};
    int rc = dbk_split_open_sides(split, err);
    if (rc == DBK_OK)
        rc = dbk_ask_number(split->second[DBK_SPLIT_OLD],
                            "SELECT pg_try_advisory_lock(hashtext(?1))::int", name, &locked, err);
    if (rc == DBK_OK && locked == 0)
        rc = dbk_error_set(err, DBK_EBUSY, "another command is at the split of %s",
                           split->state.service);
    return rc < 0 ? rc : dbk_split_check_known(split, err);
}

/* ---- What the files share ---- */

int64_t dbk_split_now_us(const struct dbk_split *split)
{
    return split->options.os->monotonic_us(split->options.os);
}

void dbk_split_nap(unsigned ms)
{
    (void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000},
                    NULL);
}

int dbk_split_tell_progress(struct dbk_split *split, const char *what, uint64_t done,
                            uint64_t total)
{
    return split->options.progress == NULL
               ? DBK_OK
               : split->options.progress(split->options.context, what, done, total);
}

void dbk_split_warn(const struct dbk_split *split, const char *format, ...)
{
    char text[DBK_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (split->options.warn != NULL)
        split->options.warn(split->options.context, text);
}

int dbk_split_change(struct dbk_split *split, enum dbk_split_side side, const char *sql,
                     struct dbk_error *err)
{
    int64_t end_us = dbk_split_now_us(split) + DBK_SPLIT_PATIENCE_US;
    if (sql == NULL)
        return no_memory(err);
    for (;;) {
        struct dbk_error failure = {0};
        /* One transaction, which takes its setting back where it fails. */
        int rc = dbk_tell(split->first[side], &failure,
                          "SET lock_timeout = %d; %s; RESET lock_timeout", DBK_SPLIT_LOCK_MS, sql);
        if (rc == DBK_OK)
            return DBK_OK;
        if (rc != DBK_EBUSY || dbk_split_now_us(split) > end_us)
            return dbk_error_set(err, rc, "%s", failure.message);
        dbk_split_nap(DBK_SPLIT_LOCK_MS);
    }
}

const char *dbk_split_tables_json(struct dbk_split *split)
{
    struct dbk_buf text;
    dbk_buf_init(&text, STATE_SIZE_MAX);
    for (size_t i = 0; i < split->state.table_count; i++) {
        dbk_buf_append_char(&text, i == 0 ? '[' : ',');
        dbk_json_write_string(&text, dbk_slice_of(split->state.tables[i]));
    }
    dbk_buf_append_char(&text, ']');
    const char *copy = text.rc < 0 ? NULL : dbk_arena_copy(&split->work, dbk_buf_slice(&text)).data;
    dbk_buf_release(&text);
    return copy;
}

const char *dbk_split_tables_list(struct dbk_split *split)
{
    const char *text = "";
    for (size_t i = 0; text != NULL && i < split->state.table_count; i++)
        text = dbk_arena_format(&split->work, "%s%s%s", text, i > 0 ? ", " : "",
                                split->state.tables[i]);
    return text;
}

/* ---- Starting ---- */

static int make_all(struct dbk_split *split, struct dbk_error *err)
{
    int rc = dbk_split_make(split, err);
    if (rc == DBK_OK)
        rc = dbk_split_make_mark(split, DBK_SPLIT_OLD, err);
    if (rc == DBK_OK)
        rc = dbk_split_publish(split, DBK_SPLIT_NEW, true, err);
    if (rc == DBK_OK)
        rc = dbk_split_subscribe(split, DBK_SPLIT_NEW, true, err);
    if (rc == DBK_OK)
        rc = dbk_split_try_reach(split, DBK_SPLIT_OLD, err);
    if (rc == DBK_OK)
        rc = dbk_split_await_copies(split, err);
    return rc < 0 ? rc : dbk_split_make_late(split, err);
}

int dbk_split_start(struct dbk_split *split, struct dbk_error *err)
{
    enum dbk_split_step step = split->state.step;
    if (step != DBK_SPLIT_STARTING && step != DBK_SPLIT_READY && step != DBK_SPLIT_MOVED)
        return dbk_error_set(err, DBK_EREFUSED,
                             "the split of %s is %s: give that command again, or --status",
                             split->state.service, dbk_split_step_text(step));
    int rc = dbk_split_connect(split, err);
    if (rc == DBK_OK && step == DBK_SPLIT_STARTING)
        rc = dbk_split_save(split, err);
    if (rc == DBK_OK && step == DBK_SPLIT_STARTING)
        rc = make_all(split, err);
    if (rc == DBK_OK)
        rc = dbk_split_verify(split, step == DBK_SPLIT_MOVED ? DBK_SPLIT_NEW : DBK_SPLIT_OLD, err);
    if (rc == DBK_OK)
        rc = dbk_split_step_to(split, step == DBK_SPLIT_MOVED ? step : DBK_SPLIT_READY, err);
    return rc;
}
