/* SPDX-License-Identifier: Apache-2.0 */
#include "service/hot.h"

#include <stdio.h>
#include <time.h>

#include "service/ask.h"

#define PERIOD_MS 20

/* Who is there; and who waits, for which table, because of whom. A wait for a row is one for its
   last writer's transaction: the row's table is that of the lock on it, which the waiter has. */
static const char *const sample_sql =
    "WITH a AS (SELECT pid, usename::text AS role, state FROM pg_stat_activity WHERE datname = "
    "current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()), "
    "w AS (SELECT DISTINCT ON (l.pid) l.pid, coalesce(l.relation, (SELECT t.relation FROM pg_locks "
    "t WHERE t.pid = l.pid AND t.locktype = 'tuple' LIMIT 1)) AS relation FROM pg_locks l WHERE "
    "NOT "
    "l.granted AND l.pid IN (SELECT pid FROM a)) "
    "SELECT 'r', role, '', '', count(*), count(*) FILTER (WHERE state = 'active') FROM a GROUP BY "
    "role "
    "UNION ALL SELECT 'w', a.role, coalesce(w.relation::regclass::text, ''), coalesce((SELECT "
    "string_agg(DISTINCT b.usename::text, ', ') FROM pg_stat_activity b WHERE b.pid = ANY "
    "(pg_blocking_pids(a.pid))), ''), 1, 0 FROM w JOIN a USING (pid)";
static const char *const tables_sql =
    "SELECT relid::regclass::text, (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, "
    "0))::bigint, (n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables";

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

/* ---- Rows ---- */

static int find_row(struct dbk_hot *hot, const struct dbk_hot_row *key,
                    struct dbk_hot_row **row_out, struct dbk_error *err)
{
    for (size_t i = 0; i < hot->count; i++) {
        *row_out = &hot->rows[i];
        if ((*row_out)->kind == key->kind && strcmp((*row_out)->name, key->name) == 0 &&
            strcmp((*row_out)->table, key->table) == 0 &&
            strcmp((*row_out)->holder, key->holder) == 0)
            return DBK_OK;
    }
    if (hot->count == hot->capacity) {
        size_t capacity = hot->capacity == 0 ? 64 : 2 * hot->capacity;
        struct dbk_hot_row *rows = dbk_arena_alloc_zero(hot->arena, capacity, sizeof(*rows));
        if (rows == NULL)
            return no_memory(err);
        if (hot->count > 0)
            memcpy(rows, hot->rows, hot->count * sizeof(*rows));
        hot->rows = rows;
        hot->capacity = capacity;
    }
    *row_out = &hot->rows[hot->count];
    **row_out =
        (struct dbk_hot_row){.kind = key->kind,
                             .name = dbk_arena_copy(hot->arena, dbk_slice_of(key->name)).data,
                             .table = dbk_arena_copy(hot->arena, dbk_slice_of(key->table)).data,
                             .holder = dbk_arena_copy(hot->arena, dbk_slice_of(key->holder)).data};
    if ((*row_out)->name == NULL || (*row_out)->table == NULL || (*row_out)->holder == NULL)
        return no_memory(err);
    hot->count++;
    return DBK_OK;
}

static int take_numbers(const char *one, const char *other, int64_t *one_out, int64_t *other_out,
                        struct dbk_error *err)
{
    return one != NULL && other != NULL && dbk_slice_to_i64(dbk_slice_of(one), one_out) &&
                   dbk_slice_to_i64(dbk_slice_of(other), other_out)
               ? DBK_OK
               : dbk_error_set(err, DBK_ECORRUPT, "the database answered no number");
}

static int count_wait(struct dbk_hot *hot, enum dbk_hot_kind kind, const char *name,
                      const char *table, const char *holder, struct dbk_error *err)
{
    struct dbk_hot_row key = {.kind = kind, .name = name, .table = table, .holder = holder};
    struct dbk_hot_row *row = NULL;
    int rc = find_row(hot, &key, &row, err);
    if (rc == DBK_OK)
        row->waits++;
    return rc;
}

static int take_sample(void *context, const char *const *columns, struct dbk_error *err)
{
    struct dbk_hot *hot = context;
    const char *role = columns[1] == NULL ? "" : columns[1];
    struct dbk_hot_row key = {.kind = DBK_HOT_ROLE, .name = role, .table = "", .holder = ""};
    struct dbk_hot_row *row = NULL;
    int64_t one = 0;
    int64_t other = 0;
    int rc = take_numbers(columns[4], columns[5], &one, &other, err);
    if (rc == DBK_OK && columns[0][0] == 'r') {
        rc = find_row(hot, &key, &row, err);
        if (rc == DBK_OK) {
            row->connections += one;
            row->active += other;
        }
        return rc;
    }
    if (rc == DBK_OK)
        rc = count_wait(hot, DBK_HOT_ROLE, role, "", "", err);
    if (rc == DBK_OK && columns[2][0] != '\0')
        rc = count_wait(hot, DBK_HOT_TABLE, columns[2], "", "", err);
    return rc < 0 ? rc : count_wait(hot, DBK_HOT_WAIT, role, columns[2], columns[3], err);
}

/* ---- What the server counts ---- */

/* Of a difference: taken away before the window, added behind it. */
struct counting {
    struct dbk_hot *hot;
    enum dbk_hot_kind kind;
    int sign;
};

/* What was counted since: all there is where the server has begun to count anew. */
static void count(int64_t *sum, int sign, int64_t number)
{
    int64_t since = *sum + sign * number;
    *sum = sign > 0 && since < 0 ? number : since;
}

static int take_counts(void *context, const char *const *columns, struct dbk_error *err)
{
    const struct counting *counting = context;
    struct dbk_hot_row key = {
        .kind = counting->kind, .name = columns[0], .table = "", .holder = ""};
    struct dbk_hot_row *row = NULL;
    int64_t one = 0;
    int64_t other = 0;
    int rc = take_numbers(columns[1], columns[2], &one, &other, err);
    if (rc == DBK_OK)
        rc = find_row(counting->hot, &key, &row, err);
    if (rc < 0)
        return rc;
    if (counting->kind == DBK_HOT_TABLE) {
        count(&row->rows_read, counting->sign, one);
        count(&row->rows_written, counting->sign, other);
    } else {
        count(&row->time_us, counting->sign, one);
        count(&row->calls, counting->sign, other);
    }
    return DBK_OK;
}

/* The statement on pg_stat_statements, wherever it is; NULL: it is not there. */
static int find_times(struct dbk_connection *connection, struct dbk_hot *hot, const char **sql_out,
                      struct dbk_error *err)
{
    const char *view = NULL;
    *sql_out = NULL;
    int rc = dbk_ask_text(connection,
                          "SELECT format('%I.pg_stat_statements', n.nspname) FROM pg_extension e "
                          "JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = "
                          "'pg_stat_statements' AND current_setting('server_version_num')::int >= "
                          "130000 AND current_setting('shared_preload_libraries') ~ "
                          "'pg_stat_statements'",
                          NULL, hot->arena, &view, err);
    if (rc < 0 || view == NULL)
        return rc;
    *sql_out = dbk_arena_format(
        hot->arena,
        "SELECT r.rolname::text, (sum(s.total_exec_time) * 1000)::bigint, sum(s.calls)::bigint "
        "FROM %s s JOIN pg_roles r ON r.oid = s.userid WHERE s.dbid = (SELECT oid FROM pg_database "
        "WHERE datname = current_database()) GROUP BY 1",
        view);
    return *sql_out == NULL ? no_memory(err) : DBK_OK;
}

static int count_all(struct dbk_connection *connection, struct dbk_hot *hot, const char *times_sql,
                     int sign, struct dbk_error *err)
{
    struct counting counting = {.hot = hot, .kind = DBK_HOT_TABLE, .sign = sign};
    int rc = dbk_ask(connection, tables_sql, NULL, take_counts, &counting, err);
    counting.kind = DBK_HOT_ROLE;
    return rc < 0 || times_sql == NULL
               ? rc
               : dbk_ask(connection, times_sql, NULL, take_counts, &counting, err);
}

/* What the server counts no more has done nothing since. */
static void leave_forgotten_out(struct dbk_hot *hot)
{
    for (size_t i = 0; i < hot->count; i++) {
        int64_t *const sums[] = {&hot->rows[i].time_us, &hot->rows[i].calls,
                                 &hot->rows[i].rows_read, &hot->rows[i].rows_written};
        for (size_t j = 0; j < sizeof(sums) / sizeof(sums[0]); j++)
            *sums[j] = *sums[j] < 0 ? 0 : *sums[j];
    }
}

int dbk_hot_watch(struct dbk_connection *connection, struct dbk_os *os, int64_t window_us,
                  dbk_hot_progress_fn progress, void *context, struct dbk_hot *hot,
                  struct dbk_error *err)
{
    const char *times_sql = NULL;
    int64_t started_us = os->monotonic_us(os);
    int rc = find_times(connection, hot, &times_sql, err);
    hot->timed = times_sql != NULL;
    if (rc == DBK_OK)
        rc = count_all(connection, hot, times_sql, -1, err);
    while (rc == DBK_OK && (hot->window_us = os->monotonic_us(os) - started_us) < window_us) {
        rc = dbk_ask(connection, sample_sql, NULL, take_sample, hot, err);
        hot->samples++;
        if (rc == DBK_OK)
            rc = progress(context, (uint64_t)hot->window_us, (uint64_t)window_us);
        (void)nanosleep(&(struct timespec){.tv_nsec = PERIOD_MS * 1000000}, NULL);
    }
    if (rc == DBK_OK)
        rc = count_all(connection, hot, times_sql, 1, err);
    leave_forgotten_out(hot);
    return rc;
}
