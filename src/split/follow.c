/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One side follows the other by PostgreSQL's logical replication: a publication and a slot here, a
 * subscription there. Slots are made and dropped apart from subscriptions, which also works where
 * both databases are of one server.
 */
#include <stdio.h>

#include "split/inside.h"
#include "target/login.h"

#define COPY_NAP_MS 100
#define DROP_NAP_MS 50
#define DROP_PATIENCE_US (INT64_C(20) * 1000000)

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static int is_there(struct dbk_connection *connection, const char *sql, const char *name,
                    bool *there_out, struct dbk_error *err)
{
    int64_t count = 0;
    const char *const parameters[] = {name, NULL};
    int rc = dbk_ask_number(connection, sql, parameters, &count, err);
    *there_out = count > 0;
    return rc;
}

#define HAS_PUBLICATION "SELECT count(*) FROM pg_publication WHERE pubname = ?1"
#define HAS_SLOT "SELECT count(*) FROM pg_replication_slots WHERE slot_name = ?1"
#define HAS_SUBSCRIPTION                                                                           \
    "SELECT count(*) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE "        \
    "d.datname = current_database() AND s.subname = ?1"

const char *dbk_split_way(struct dbk_split *split, enum dbk_split_side to)
{
    return dbk_arena_format(&split->work, "%s_%s", split->state.name,
                            to == DBK_SPLIT_NEW ? "out" : "back");
}

/* ---- The side that is followed ---- */

int dbk_split_publish(struct dbk_split *split, enum dbk_split_side to, bool tables,
                      struct dbk_error *err)
{
    bool there = false;
    enum dbk_split_side from = to == DBK_SPLIT_NEW ? DBK_SPLIT_OLD : DBK_SPLIT_NEW;
    struct dbk_connection *connection = split->first[from];
    const char *way = dbk_split_way(split, to);
    const char *list = dbk_split_tables_list(split);
    if (way == NULL || list == NULL)
        return no_memory(err);
    int rc = is_there(connection, HAS_PUBLICATION, way, &there, err);
    if (rc == DBK_OK && !there && tables)
        rc = dbk_tell(connection, err, "CREATE PUBLICATION %s FOR TABLE %s, %s._%s", way, list,
                      split->state.home, split->state.name);
    else if (rc == DBK_OK && !there)
        rc = dbk_tell(connection, err, "CREATE PUBLICATION %s", way);
    /* Behind the publication: what is decoded from here on knows it. */
    if (rc == DBK_OK)
        rc = is_there(connection, HAS_SLOT, way, &there, err);
    if (rc < 0 || there)
        return rc;
    rc = dbk_split_tell_progress(split, "wait for running transactions", 0, 0);
    const char *const parameters[] = {way, NULL};
    return rc < 0 ? rc
                  : dbk_ask(connection,
                            "SELECT 1 FROM pg_create_logical_replication_slot(?1, 'pgoutput')",
                            parameters, NULL, NULL, err);
}

/* The walsender that has it may end a moment later. */
static int drop_slot(struct dbk_split *split, struct dbk_connection *connection, const char *slot,
                     struct dbk_error *err)
{
    static const char *const drop_sql =
        "SELECT CASE WHEN active THEN pg_terminate_backend(active_pid)::text ELSE "
        "pg_drop_replication_slot(slot_name)::text END FROM pg_replication_slots WHERE slot_name = "
        "?1";
    int64_t end_us = dbk_split_now_us(split) + DROP_PATIENCE_US;
    const char *const parameters[] = {slot, NULL};
    for (;;) {
        bool there = false;
        struct dbk_error failure = {0};
        int rc = is_there(connection, HAS_SLOT, slot, &there, err);
        if (rc < 0 || !there)
            return rc;
        rc = dbk_ask(connection, drop_sql, parameters, NULL, NULL, &failure);
        if (rc < 0 && dbk_split_now_us(split) > end_us)
            return dbk_error_set(err, rc, "the slot %s cannot be dropped: %s", slot,
                                 failure.message);
        dbk_split_nap(DROP_NAP_MS);
    }
}

/* ---- The side that follows ---- */

/* A connection string as a server takes it. */
static int read_reach(const char *address, char text_out[DBK_LOGIN_TEXT_SIZE],
                      struct dbk_error *err)
{
    const void *symbol = NULL;
    int rc = dbk_target_symbol(address, DBK_LOGIN_SYMBOL, &symbol, err);
    const struct dbk_login_driver *driver = symbol;
    if (rc == DBK_OK && driver == NULL)
        rc = dbk_error_set(err, DBK_EFORMAT, "the database's module knows no logins");
    return rc < 0 ? rc : driver->whole(address, text_out, err);
}

/* A literal of it, with its quotes; NULL when out of memory. */
static char *quoted(const char *text)
{
    char *out = dbk_alloc_zero(2 * strlen(text) + 3, 1);
    char *at = out;
    if (out == NULL)
        return NULL;
    *at++ = '\'';
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            *at++ = '\'';
        *at++ = *text;
    }
    *at = '\'';
    return out;
}

/* A subscription that reached another server than ours finds no tables there. */
static int check_reached(struct dbk_split *split, enum dbk_split_side to, const char *way,
                         size_t table_count, struct dbk_error *err)
{
    int64_t count = 0;
    const char *const parameters[] = {way, NULL};
    int rc = dbk_ask_number(split->first[to],
                            "SELECT count(*) FROM pg_subscription_rel r JOIN pg_subscription s ON "
                            "s.oid = r.srsubid JOIN pg_database d ON d.oid = s.subdbid WHERE "
                            "d.datname = current_database() AND s.subname = ?1",
                            parameters, &count, err);
    if (rc < 0 || (size_t)count == table_count)
        return rc;
    return dbk_error_set(err, DBK_EREFUSED,
                         "the %s server reaches another database than the %s one by its connection "
                         "string: --abort, and name one that it reaches it by with --reach-%s",
                         dbk_split_side_text(to), dbk_split_side_text(!to),
                         dbk_split_side_text(!to));
}

/* options: as SQL, behind the name of the publication, which is the subscription's. */
static int make_subscription(struct dbk_split *split, enum dbk_split_side to, const char *way,
                             const char *options, struct dbk_error *err)
{
    char reach[DBK_LOGIN_TEXT_SIZE];
    struct dbk_error failure = {0};
    enum dbk_split_side from = to == DBK_SPLIT_NEW ? DBK_SPLIT_OLD : DBK_SPLIT_NEW;
    int rc = read_reach(split->state.places[from].reach, reach, err);
    if (rc < 0)
        return rc;
    char *literal = quoted(reach);
    rc = literal == NULL
             ? no_memory(err)
             : dbk_tell_secret(split->first[to], &failure, "CREATE SUBSCRIPTION …",
                               "CREATE SUBSCRIPTION %s CONNECTION %s PUBLICATION %s WITH "
                               "(create_slot = false, %s)",
                               way, literal, way, options);
    if (rc < 0)
        (void)dbk_error_set(err, rc,
                            "the %s server cannot follow the %s one: %s (where it reaches it by "
                            "another connection string: --abort, then --reach-%s)",
                            dbk_split_side_text(to), dbk_split_side_text(from), failure.message,
                            dbk_split_side_text(from));
    explicit_bzero(reach, sizeof(reach));
    if (literal != NULL)
        explicit_bzero(literal, strlen(literal));
    dbk_free(literal);
    return rc;
}

int dbk_split_subscribe(struct dbk_split *split, enum dbk_split_side to, bool copy,
                        struct dbk_error *err)
{
    bool there = false;
    const char *way = dbk_split_way(split, to);
    const char *options = way == NULL
                              ? NULL
                              : dbk_arena_format(&split->work, "slot_name = %s, copy_data = %s",
                                                 way, copy ? "true" : "false");
    if (options == NULL)
        return no_memory(err);
    int rc = is_there(split->first[to], HAS_SUBSCRIPTION, way, &there, err);
    if (rc == DBK_OK && !there)
        rc = make_subscription(split, to, way, options, err);
    return rc < 0 ? rc : check_reached(split, to, way, split->state.table_count + 1, err);
}

/* A subscription to the mark alone, which is taken back. */
int dbk_split_try_reach(struct dbk_split *split, enum dbk_split_side to, struct dbk_error *err)
{
    struct dbk_connection *from = split->first[!to];
    const char *name = dbk_arena_format(&split->work, "%s_try", split->state.name);
    if (name == NULL)
        return no_memory(err);
    int rc =
        dbk_tell(from, err, "DROP PUBLICATION IF EXISTS %s; CREATE PUBLICATION %s FOR TABLE %s._%s",
                 name, name, split->state.home, split->state.name);
    if (rc == DBK_OK)
        rc = dbk_connection_begin(split->first[to], DBK_BEGIN_WRITE, err);
    if (rc < 0)
        return rc;
    rc = make_subscription(split, to, name, "enabled = false, slot_name = NONE, copy_data = false",
                           err);
    if (rc == DBK_OK)
        rc = check_reached(split, to, name, 1, err);
    dbk_ignore(dbk_connection_run(split->first[to], "ROLLBACK", NULL));
    int dropped = dbk_tell(from, rc < 0 ? NULL : err, "DROP PUBLICATION %s", name);
    return rc < 0 ? rc : dropped;
}

/* What is disabled ends its workers a moment later; one that is stuck is found by its slot. */
static int await_no_worker(struct dbk_split *split, enum dbk_split_side to, const char *way,
                           struct dbk_error *err)
{
    int64_t end_us = dbk_split_now_us(split) + DROP_PATIENCE_US;
    const char *const name[] = {way, NULL};
    for (;;) {
        int64_t count = 0;
        int rc = dbk_ask_number(split->first[to],
                                "SELECT count(*) FROM pg_stat_subscription a JOIN pg_subscription "
                                "s ON s.oid = a.subid JOIN pg_database d ON d.oid = s.subdbid "
                                "WHERE d.datname = current_database() AND s.subname = ?1 AND a.pid "
                                "IS NOT NULL",
                                name, &count, err);
        if (rc < 0 || count == 0 || dbk_split_now_us(split) > end_us)
            return rc;
        dbk_split_nap(DROP_NAP_MS);
    }
}

struct leftovers {
    struct dbk_split *split;
    struct dbk_connection *from;
};

static int drop_copy_slot(void *context, const char *const *columns, struct dbk_error *err)
{
    struct leftovers *leftovers = context;
    return drop_slot(leftovers->split, leftovers->from, columns[0], err);
}

/*
 * A copy that is ended has a slot of its own there, pg_<subscription>_sync_<table>_<server>, which
 * a server that does not reach the other one leaves.
 */
static int drop_copy_slots(struct dbk_split *split, enum dbk_split_side to, const char *way,
                           struct dbk_error *err)
{
    const char *pattern = NULL;
    const char *const name[] = {way, NULL};
    struct leftovers leftovers = {.split = split, .from = split->second[!to]};
    int rc =
        dbk_ask_text(split->first[to],
                     "SELECT format('^pg_%s_sync_[0-9]+_%s$', s.oid, c.system_identifier) FROM "
                     "pg_control_system() c, pg_subscription s JOIN pg_database d ON d.oid = "
                     "s.subdbid WHERE d.datname = current_database() AND s.subname = ?1",
                     name, &split->work, &pattern, err);
    const char *const parameters[] = {pattern, NULL};
    return rc < 0 || pattern == NULL
               ? rc
               : dbk_ask(split->first[!to],
                         "SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ ?1",
                         parameters, drop_copy_slot, &leftovers, err);
}

static int unsubscribe(struct dbk_split *split, enum dbk_split_side to, const char *way,
                       struct dbk_error *err)
{
    bool there = false;
    struct dbk_connection *connection = split->first[to];
    int rc = is_there(connection, HAS_SUBSCRIPTION, way, &there, err);
    if (rc < 0 || !there)
        return rc;
    /* Without its slot: a server that does not reach the other one any more can still drop it. */
    rc = dbk_tell(connection, err, "ALTER SUBSCRIPTION %s DISABLE", way);
    /* Before the subscription, by whose number they are known. */
    if (rc == DBK_OK)
        rc = await_no_worker(split, to, way, err);
    if (rc == DBK_OK)
        rc = drop_copy_slots(split, to, way, err);
    if (rc == DBK_OK)
        rc = dbk_tell(connection, err, "ALTER SUBSCRIPTION %s SET (slot_name = NONE)", way);
    return rc < 0 ? rc : dbk_tell(connection, err, "DROP SUBSCRIPTION %s", way);
}

int dbk_split_unfollow(struct dbk_split *split, enum dbk_split_side to, struct dbk_error *err)
{
    enum dbk_split_side from = to == DBK_SPLIT_NEW ? DBK_SPLIT_OLD : DBK_SPLIT_NEW;
    const char *way = dbk_split_way(split, to);
    if (way == NULL)
        return no_memory(err);
    int rc = unsubscribe(split, to, way, err);
    if (rc == DBK_OK)
        rc = drop_slot(split, split->first[from], way, err);
    return rc < 0 ? rc
                  : dbk_tell(split->first[from], err, "DROP PUBLICATION IF EXISTS %s, %s_try", way,
                             split->state.name);
}

/* ---- Copying ---- */

struct copies {
    int64_t left;
    int64_t done;
    int64_t total;
    int64_t errors;
};

static int take_copies(void *context, const char *const *columns, struct dbk_error *err)
{
    int64_t *numbers[] = {&((struct copies *)context)->left, &((struct copies *)context)->done};
    for (size_t i = 0; i < 2; i++) {
        if (columns[i] == NULL || !dbk_slice_to_i64(dbk_slice_of(columns[i]), numbers[i]))
            return dbk_error_set(err, DBK_ECORRUPT, "the database answered no number");
    }
    return DBK_OK;
}

/* What went wrong stands only in that server's log. */
static int check_errors(struct dbk_split *split, const char *way, struct copies *copies,
                        struct dbk_error *err)
{
    const char *const parameters[] = {way, NULL};
    int64_t counted = 0;
    int64_t version = 0;
    int rc =
        dbk_ask_number(split->first[DBK_SPLIT_NEW],
                       "SELECT current_setting('server_version_num')::int", NULL, &version, err);
    if (rc == DBK_OK && version >= 150000)
        rc = dbk_ask_number(split->first[DBK_SPLIT_NEW],
                            "SELECT coalesce(sum(apply_error_count + sync_error_count), 0)::bigint "
                            "FROM pg_stat_subscription_stats WHERE subname = ?1",
                            parameters, &counted, err);
    if (rc == DBK_OK && counted > 2)
        return dbk_error_set(err, DBK_EREFUSED,
                             "the copy fails again and again: the new server's log says why; mend "
                             "it and go on, or --abort");
    copies->errors = counted;
    return rc;
}

int dbk_split_await_copies(struct dbk_split *split, struct dbk_error *err)
{
    static const char *const copies_sql =
        "SELECT count(*) FILTER (WHERE r.srsubstate NOT IN ('r', 's')), coalesce(sum(CASE WHEN "
        "r.srsubstate IN ('r', 's', 'f') THEN greatest(c.reltuples, 0)::bigint ELSE coalesce("
        "p.tuples_processed, 0) END), 0)::bigint "
        "FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid JOIN pg_class c ON "
        "c.oid = r.srrelid LEFT JOIN pg_stat_progress_copy p ON p.relid = r.srrelid WHERE "
        "s.subname "
        "= ?1";
    struct copies copies = {.left = 1};
    const char *const way[] = {dbk_split_way(split, DBK_SPLIT_NEW), NULL};
    const char *const tables[] = {dbk_split_tables_json(split), NULL};
    if (way[0] == NULL || tables[0] == NULL)
        return no_memory(err);
    int rc = dbk_ask_number(split->first[DBK_SPLIT_OLD],
                            "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class "
                            "WHERE oid IN (SELECT to_regclass(x)::oid FROM "
                            "jsonb_array_elements_text(?1::jsonb) x)",
                            tables, &copies.total, err);
    while (rc == DBK_OK) {
        rc = dbk_ask(split->first[DBK_SPLIT_NEW], copies_sql, way, take_copies, &copies, err);
        if (rc == DBK_OK)
            rc = dbk_split_tell_progress(split, "copy", (uint64_t)copies.done,
                                         (uint64_t)copies.total);
        if (rc < 0 || copies.left == 0)
            break;
        rc = check_errors(split, way[0], &copies, err);
        dbk_split_nap(COPY_NAP_MS);
    }
    return rc;
}

/* ---- How far it is ---- */

static int send_mark(struct dbk_split *split, enum dbk_split_side from, char token_out[40],
                     struct dbk_error *err)
{
    uint64_t random[2];
    struct dbk_os *os = split->options.os;
    int rc = os->random(os, random, sizeof(random), err);
    if (rc < 0)
        return rc;
    (void)snprintf(token_out, 40, "%016llx%016llx", (unsigned long long)random[0],
                   (unsigned long long)random[1]);
    return dbk_tell(
        split->second[from], err,
        "INSERT INTO %s._%s (id, token) VALUES (1, '%s') ON CONFLICT (id) DO UPDATE SET "
        "token = excluded.token",
        split->state.home, split->state.name, token_out);
}

/*
 * Commits are applied in their order, so that a side that has the mark has all that was committed
 * before it.
 */
int dbk_split_drain(struct dbk_split *split, enum dbk_split_side from, int64_t limit_us,
                    struct dbk_error *err)
{
    char token[40];
    char sql[300];
    int64_t end_us = dbk_split_now_us(split) + limit_us;
    const char *const parameters[] = {token, NULL};
    int rc = send_mark(split, from, token, err);
    (void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s._%s WHERE token = ?1",
                   split->state.home, split->state.name);
    while (rc == DBK_OK) {
        int64_t there = 0;
        rc = dbk_ask_number(split->second[!from], sql, parameters, &there, err);
        if (rc < 0 || there > 0)
            break;
        if (dbk_split_now_us(split) > end_us)
            return dbk_error_set(err, DBK_ETIMEOUT, "the %s side has not caught up within %lld ms",
                                 dbk_split_side_text(!from), (long long)limit_us / 1000);
        dbk_split_nap(1);
    }
    return rc;
}

int dbk_split_come_near(struct dbk_split *split, enum dbk_split_side from, struct dbk_error *err)
{
    int64_t end_us = dbk_split_now_us(split) + DBK_SPLIT_PATIENCE_US;
    for (;;) {
        int64_t started_us = dbk_split_now_us(split);
        int rc = dbk_split_drain(split, from, end_us - started_us, err);
        if (rc == DBK_ETIMEOUT)
            return dbk_error_set(err, DBK_EBUSY,
                                 "the %s side is too far behind, or does not follow: its server's "
                                 "log says why; nothing was changed",
                                 dbk_split_side_text(!from));
        if (rc < 0 || dbk_split_now_us(split) - started_us <= DBK_SPLIT_NEAR_US)
            return rc;
        if (dbk_split_now_us(split) > end_us)
            return dbk_error_set(err, DBK_EBUSY,
                                 "the %s side stays more than %d ms behind: try it where less is "
                                 "written; nothing was changed",
                                 dbk_split_side_text(!from), DBK_SPLIT_NEAR_US / 1000);
        rc = dbk_split_tell_progress(split, "catch up", 0, 0);
        if (rc < 0)
            return rc;
    }
}

static int try_hold(struct dbk_split *split, enum dbk_split_side from, const char *list,
                    struct dbk_error *err)
{
    struct dbk_connection *connection = split->first[from];
    int rc = dbk_connection_begin(connection, DBK_BEGIN_WRITE, err);
    /* For all locks together; lock_timeout is one's. */
    if (rc == DBK_OK)
        rc = dbk_tell(connection, err, "SET LOCAL statement_timeout = %d", DBK_SPLIT_LOCK_MS);
    if (rc == DBK_OK)
        rc = dbk_tell(connection, err, "LOCK TABLE %s IN EXCLUSIVE MODE", list);
    if (rc == DBK_OK)
        rc = dbk_tell(connection, err,
                      "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = %d",
                      DBK_SPLIT_LOCK_MS);
    if (rc == DBK_OK)
        rc = dbk_split_drain(split, from, DBK_SPLIT_DRAIN_US, err);
    if (rc < 0)
        dbk_ignore(dbk_connection_run(connection, "ROLLBACK", NULL));
    return rc;
}

int dbk_split_hold(struct dbk_split *split, enum dbk_split_side from, int64_t *started_us_out,
                   struct dbk_error *err)
{
    int64_t end_us = dbk_split_now_us(split) + DBK_SPLIT_PATIENCE_US;
    const char *list = dbk_split_tables_list(split);
    if (list == NULL)
        return no_memory(err);
    for (;;) {
        struct dbk_error failure = {0};
        int rc = dbk_split_come_near(split, from, err);
        if (rc < 0)
            return rc;
        *started_us_out = dbk_split_now_us(split);
        rc = try_hold(split, from, list, &failure);
        if (rc == DBK_OK)
            return rc;
        if (rc != DBK_EBUSY && rc != DBK_ETIMEOUT)
            return dbk_error_set(err, rc, "%s", failure.message);
        if (dbk_split_now_us(split) > end_us)
            return dbk_error_set(err, DBK_EBUSY,
                                 "no moment was found within a minute: %s; nothing was changed",
                                 failure.message);
        rc = dbk_split_tell_progress(split, "wait for a moment without long transactions", 0, 0);
        if (rc < 0)
            return rc;
        dbk_split_nap(DBK_SPLIT_LOCK_MS);
    }
}
