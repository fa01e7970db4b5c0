/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides, row by row, as of one moment: writers are held until the other side has all they did,
 * a snapshot is taken on either side, and they go on. The snapshots hold the same rows then, or
 * something is wrong. Rows are read in the order of the primary key, in pieces, and looked up on
 * the other side by their keys, whatever that side's collations are; how many there are in all says
 * that it has no others.
 */
#include <stdio.h>

#include "split/inside.h"

#define PIECE 5000

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static int take_snapshots(struct dbk_split *split, enum dbk_split_side from, struct dbk_error *err)
{
    int64_t started_us = 0;
    int rc = dbk_split_hold(split, from, &started_us, err);
    if (rc < 0)
        return rc;
    /* A snapshot is taken by the first statement. */
    for (int side = 0; rc == DBK_OK && side < 2; side++) {
        rc = dbk_connection_begin(split->second[side], DBK_BEGIN_READ, err);
        if (rc == DBK_OK)
            rc = dbk_ask(split->second[side], "SELECT 1", NULL, NULL, NULL, err);
    }
    dbk_ignore(dbk_connection_run(split->first[from], "ROLLBACK", NULL));
    split->state.verify_pause_us = dbk_split_now_us(split) - started_us;
    return rc;
}

/* ---- Statements ---- */

/* The pieces of SQL that a table's key gives. */
struct comparison {
    struct dbk_split *split;
    enum dbk_split_side from;
    const char *table;
    const char *columns; /* id, part */
    const char *texts;   /* id::text, part::text */
    const char *after;   /* (?1::json->>0)::bigint, … */
    const char *equal;   /* t.id = (k->>0)::bigint AND … */
    int64_t width;       /* columns of the key */
    uint64_t done;       /* rows, of all tables */
    uint64_t total;
};

static int take_key(void *context, const char *const *columns, struct dbk_error *err)
{
    struct comparison *comparison = context;
    const char **parts[] = {&comparison->columns, &comparison->texts, &comparison->after,
                            &comparison->equal};
    for (size_t i = 0; i < 4; i++) {
        if (columns[i] == NULL)
            return dbk_error_set(err, DBK_EREFUSED, "the table %s has no primary key any more",
                                 comparison->table);
        *parts[i] = dbk_arena_copy(&comparison->split->work, dbk_slice_of(columns[i])).data;
        if (*parts[i] == NULL)
            return no_memory(err);
    }
    return dbk_slice_to_i64(dbk_slice_of(columns[4]), &comparison->width)
               ? DBK_OK
               : dbk_error_set(err, DBK_ECORRUPT, "the database answered no number");
}

static int read_key(struct comparison *comparison, struct dbk_error *err)
{
    const char *const table[] = {comparison->table, NULL};
    return dbk_ask(
        comparison->split->second[comparison->from],
        "SELECT string_agg(format('%I', a.attname), ', ' ORDER BY k.nr), string_agg(format("
        "'%I::text', a.attname), ', ' ORDER BY k.nr), string_agg(format('(?1::json->>%s)::%s', "
        "k.nr "
        "- 1, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY k.nr), string_agg(format("
        "'t.%I = (k->>%s)::%s', a.attname, k.nr - 1, format_type(a.atttypid, a.atttypmod)), ' AND "
        "' "
        "ORDER BY k.nr), count(*) "
        "FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, nr) "
        "JOIN pg_attribute a ON true WHERE a.attrelid = i.indrelid AND a.attnum = k.attnum AND "
        "i.indisprimary AND k.nr <= i.indnkeyatts AND i.indrelid = to_regclass(?1)",
        table, take_key, comparison, err);
}

/* ---- Pieces ---- */

struct piece {
    struct dbk_arena arena;
    const char *rows; /* JSON: [key…, digest] each */
    const char *last;
    int64_t count;
};

static int take_piece(void *context, const char *const *columns, struct dbk_error *err)
{
    struct piece *piece = context;
    piece->count = 0;
    if (columns[0] == NULL || columns[1] == NULL)
        return DBK_OK;
    piece->rows = dbk_arena_copy(&piece->arena, dbk_slice_of(columns[0])).data;
    piece->last = dbk_arena_copy(&piece->arena, dbk_slice_of(columns[1])).data;
    if (piece->rows == NULL || piece->last == NULL)
        return no_memory(err);
    return columns[2] != NULL && dbk_slice_to_i64(dbk_slice_of(columns[2]), &piece->count)
               ? DBK_OK
               : dbk_error_set(err, DBK_ECORRUPT, "the database answered no number");
}

static int take_difference(void *context, const char *const *columns, struct dbk_error *err)
{
    const struct comparison *comparison = context;
    int64_t count = 0;
    if (columns[0] == NULL || !dbk_slice_to_i64(dbk_slice_of(columns[0]), &count) || count == 0)
        return DBK_OK;
    return dbk_error_set(err, DBK_EREFUSED,
                         "%lld rows of %s are missing or others on the %s side, the first with the "
                         "key %.200s: --abort, and look who writes there",
                         (long long)count, comparison->table,
                         dbk_split_side_text(!comparison->from),
                         columns[1] == NULL ? "?" : columns[1]);
}

static char *make_read(struct comparison *comparison, bool first)
{
    struct dbk_arena *arena = &comparison->split->work;
    const char *where = first ? ""
                              : dbk_arena_format(arena, "WHERE (%s) > (%s) ", comparison->columns,
                                                 comparison->after);
    return where == NULL
               ? NULL
               : dbk_arena_format(
                     arena,
                     "SELECT json_agg(r)::text, (json_agg(r)->-1)::text, count(*) FROM "
                     "(SELECT json_build_array(%s, md5(t::text)) AS r FROM %s t %s"
                     "ORDER BY %s LIMIT %d) q",
                     comparison->texts, comparison->table, where, comparison->columns, PIECE);
}

static int compare_rows(struct comparison *comparison, struct piece *piece, struct dbk_error *err)
{
    struct dbk_split *split = comparison->split;
    const char *first = make_read(comparison, true);
    const char *next = make_read(comparison, false);
    const char *look = dbk_arena_format(&split->work,
                                        "SELECT count(*), min((k - %lld)::text) FROM "
                                        "jsonb_array_elements(?1::jsonb) k LEFT JOIN %s "
                                        "t ON %s WHERE md5(t::text) IS DISTINCT FROM k->>%lld",
                                        (long long)comparison->width, comparison->table,
                                        comparison->equal, (long long)comparison->width);
    if (first == NULL || next == NULL || look == NULL)
        return no_memory(err);
    for (bool begun = false;; begun = true) {
        const char *const after[] = {begun ? piece->last : NULL, NULL};
        int rc = dbk_ask(split->second[comparison->from], begun ? next : first, after, take_piece,
                         piece, err);
        if (rc < 0 || piece->count == 0)
            return rc;
        const char *const rows[] = {piece->rows, NULL};
        rc =
            dbk_ask(split->second[!comparison->from], look, rows, take_difference, comparison, err);
        comparison->done += (uint64_t)piece->count;
        if (rc == DBK_OK)
            rc = dbk_split_tell_progress(split, "verify", comparison->done, comparison->total);
        if (rc < 0)
            return rc;
        /* What the next piece begins behind outlives this one's memory. */
        char *last = dbk_copy_text(dbk_slice_of(piece->last));
        dbk_arena_reset(&piece->arena);
        piece->last = last == NULL ? NULL : dbk_arena_copy(&piece->arena, dbk_slice_of(last)).data;
        dbk_free(last);
        if (piece->last == NULL)
            return no_memory(err);
    }
}

static int compare_counts(struct comparison *comparison, uint64_t rows, struct dbk_error *err)
{
    int64_t count = 0;
    const char *sql =
        dbk_arena_format(&comparison->split->work, "SELECT count(*) FROM %s", comparison->table);
    if (sql == NULL)
        return no_memory(err);
    int rc = dbk_ask_number(comparison->split->second[!comparison->from], sql, NULL, &count, err);
    if (rc < 0 || (uint64_t)count == rows)
        return rc;
    return dbk_error_set(err, DBK_EREFUSED,
                         "the %s side has %lld rows of %s, where there are %llu: --abort, and look "
                         "who writes there",
                         dbk_split_side_text(!comparison->from), (long long)count,
                         comparison->table, (unsigned long long)rows);
}

static int compare_table(struct comparison *comparison, struct dbk_error *err)
{
    struct piece piece = {0};
    uint64_t before = comparison->done;
    dbk_arena_init(&piece.arena, (size_t)256 << 20);
    int rc = read_key(comparison, err);
    if (rc == DBK_OK)
        rc = compare_rows(comparison, &piece, err);
    if (rc == DBK_OK)
        rc = compare_counts(comparison, comparison->done - before, err);
    dbk_arena_release(&piece.arena);
    return rc;
}

static int count_total(struct dbk_split *split, enum dbk_split_side from, uint64_t *total_out,
                       struct dbk_error *err)
{
    *total_out = 0;
    for (size_t i = 0; i < split->state.table_count; i++) {
        int64_t count = 0;
        const char *sql =
            dbk_arena_format(&split->work, "SELECT count(*) FROM %s", split->state.tables[i]);
        int rc = sql == NULL ? no_memory(err)
                             : dbk_ask_number(split->second[from], sql, NULL, &count, err);
        if (rc < 0)
            return rc;
        *total_out += (uint64_t)count;
    }
    return DBK_OK;
}

int dbk_split_verify(struct dbk_split *split, enum dbk_split_side from, struct dbk_error *err)
{
    struct comparison comparison = {.split = split, .from = from};
    int rc = take_snapshots(split, from, err);
    if (rc == DBK_OK)
        rc = count_total(split, from, &comparison.total, err);
    for (size_t i = 0; rc == DBK_OK && i < split->state.table_count; i++) {
        comparison.table = split->state.tables[i];
        rc = compare_table(&comparison, err);
    }
    for (int side = 0; side < 2; side++)
        dbk_ignore(dbk_connection_run(split->second[side], "ROLLBACK", NULL));
    if (rc < 0)
        return rc;
    split->state.rows = (int64_t)comparison.done;
    split->state.verified_us = split->options.os->now_us(split->options.os);
    return DBK_OK;
}
