/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- what the files of PostgreSQL as a home of views share.
 *
 * A full refresh is one transaction at REPEATABLE READ:
 *
 *     BEGIN, position, CREATE TABLE v__g<n> AS <the SELECT>, indexes, ANALYZE
 *     SAVEPOINT, CREATE OR REPLACE VIEW v, or back to it and again while readers hold v
 *     the view's row, COMMIT
 *     DROP TABLE of the generation before, each by itself, as far as nobody reads it
 *
 * The server keeps writers and readers apart, so that nothing is done in chunks. A statement that
 * wants a lock which others would queue behind waits for it a tenth of a second at most.
 *
 * Threads: a connection belongs to one thread at a time.
 * Source:  PostgreSQL's manual, "Transaction Isolation" and "Explicit Locking".
 */
#ifndef DBK_VIEW_POSTGRES_STATE_H
#define DBK_VIEW_POSTGRES_STATE_H

#include "view/delta.h"
#include "view/home.h"

#define DBK_PGVIEW_SQL_SIZE_MAX ((size_t)4 << 20)

/* Opens a session as the home's own driver does; its temporary tables hide nobody else's. */
int dbk_pgview_open(const struct dbk_view_definition *definition, unsigned flags,
                    struct dbk_connection **connection_out, struct dbk_error *err) DBK_MUST_CHECK;
/* The same, for views in temp that stand for others. */
int dbk_pgview_open_over(const struct dbk_view_definition *definition,
                         struct dbk_connection **connection_out,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* On such a session a name stands for a generation that does not serve yet, until it is told
   otherwise. */
int dbk_pgview_stand_for(struct dbk_connection *connection, const char *name, const char *shown,
                         struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pgview_stand_back(struct dbk_connection *connection, const char *name,
                          struct dbk_error *err) DBK_MUST_CHECK;
/* Runs what the buffer holds, and empties it. */
int dbk_pgview_run(struct dbk_connection *connection, struct dbk_buf *sql,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Begins a transaction that reads one state all the while. */
int dbk_pgview_begin(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* Appends a text as a constant, in quotes. */
void dbk_pgview_text(struct dbk_buf *out, const char *text);
/*
 * Whether the SELECT is one, and reads only; on failure the message has its place in the file.
 * statement_out (may be NULL): prepared.
 */
int dbk_pgview_prepare(const struct dbk_view_definition *definition,
                       struct dbk_connection *connection, struct dbk_statement **statement_out,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* ---- tables.c ---- */

/*
 * Fills a TABLE from the catalog: schema, table, columns, rows, signature. 1: done; 0: the obstacle
 * says why not.
 */
int dbk_pgview_describe(struct dbk_connection *connection, struct dbk_arena *arena,
                        struct dbk_slice schema, struct dbk_slice name, struct dbk_relation *table,
                        struct dbk_obstacle *obstacle, struct dbk_error *err) DBK_MUST_CHECK;
/* Whether the name still means the table that it did, with the same columns and key. */
int dbk_pgview_is_current(struct dbk_connection *connection, const struct dbk_relation *table,
                          bool *current_out, struct dbk_error *err) DBK_MUST_CHECK;
/* As struct dbk_algebra_source has them. */
int dbk_pgview_read_table(struct dbk_reading *reading, const struct dbk_json_node *node,
                          struct dbk_relation **relation_out);
int dbk_pgview_read_call(struct dbk_reading *reading, struct dbk_slice name,
                         const struct dbk_expression *call);

/* ---- plan.c ---- */

/* Makes the plan anew, also inside a transaction. What is wrong with the SELECT is an obstacle. */
int dbk_pgview_plan(struct dbk_view_plan *plan, struct dbk_connection *connection,
                    const struct dbk_view_definition *definition,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* ---- follow.c, notes.c ---- */

/* How many notes of a table are kept for views that stand still. */
#define DBK_PGVIEW_NOTES_MAX "500000"

/* "schema.table"; `_daybook_<what>_schema.table`, which PostgreSQL does not cut; in quotes. */
void dbk_pgview_source(const struct dbk_relation *table, char *text, size_t size);
void dbk_pgview_log_name(const struct dbk_relation *table, const char *what, char *text,
                         size_t size);
void dbk_pgview_log(struct dbk_buf *out, const struct dbk_relation *table, const char *what);
/* Gives a view that is about to be filled a cursor that has seen nothing. */
int dbk_pgview_hold(struct dbk_connection *connection, const char *view,
                    const struct dbk_relation *table, struct dbk_error *err) DBK_MUST_CHECK;

/* Makes `_daybook_cursors` where it is missing. */
int dbk_pgview_catalog(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;
/* True when rows are known by `_daybook_row`, which is none of the columns. */
bool dbk_pgview_is_numbered(const struct dbk_relation *relation);
/* A relation's columns, that number with them, each behind a comma and a prefix. */
void dbk_pgview_columns(struct dbk_buf *out, const struct dbk_relation *relation,
                        const char *prefix);
/* Whether the role may note the changes of a table. */
int dbk_pgview_may_follow(struct dbk_connection *connection, const struct dbk_relation *table,
                          bool *may_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Follows all tables of a tree for a view, inside a transaction. DBK_EBUSY: one has a lock. */
int dbk_pgview_follow(struct dbk_connection *connection, const char *view,
                      const struct dbk_algebra *tree, struct dbk_error *err) DBK_MUST_CHECK;
/*
 * The same of those that the transaction itself has made, which nobody else can have written; the
 * others must be held by then. DBK_EBUSY: one is not.
 */
int dbk_pgview_follow_made(struct dbk_connection *connection, const char *view,
                           const struct dbk_algebra *tree, struct dbk_error *err) DBK_MUST_CHECK;
/* The view has what the transaction sees. */
int dbk_pgview_set_cursors(struct dbk_connection *connection, const char *view,
                           const struct dbk_algebra *tree, struct dbk_error *err) DBK_MUST_CHECK;
enum dbk_pgview_forgotten {
    DBK_PGVIEW_ALL,
    DBK_PGVIEW_HELD,   /* those of a fill that failed */
    DBK_PGVIEW_OTHERS, /* but those of the fill that is under way */
};
/* What an owner's cursors say is the view's from now on. */
int dbk_pgview_take_over(struct dbk_connection *connection, const char *owner, const char *view,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Removes a view's cursors. */
int dbk_pgview_forget(struct dbk_connection *connection, const char *view,
                      enum dbk_pgview_forgotten which, struct dbk_error *err) DBK_MUST_CHECK;
/* Whether a table's triggers are those that it calls for. DBK_EREFUSED: the reason says why
   not. */
int dbk_pgview_look_at_triggers(struct dbk_connection *connection, const struct dbk_relation *table,
                                char *reason, size_t size, struct dbk_error *err) DBK_MUST_CHECK;
/* A SELECT whose one text is another when a table, its key, its triggers or what its name means is
   another. */
void dbk_pgview_marks(struct dbk_buf *sql, const struct dbk_algebra *tree);
/* Whether the notes tell all that a view needs of a table. DBK_EREFUSED: the reason says why
   not. */
int dbk_pgview_look(struct dbk_connection *connection, const char *view,
                    const struct dbk_relation *table, char *reason, size_t size,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Whether there are notes that the view has not taken. */
int dbk_pgview_is_behind(struct dbk_connection *connection, const char *view,
                         const struct dbk_relation *table, bool *behind_out,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* Statements: the temporary tables, a table's notes behind a view's cursor, their difference. */
void dbk_pgview_make_notes(struct dbk_buf *sql, const struct dbk_relation *table);
void dbk_pgview_make_difference(struct dbk_buf *sql, const struct dbk_relation *relation);
void dbk_pgview_gather(struct dbk_buf *sql, const char *view, const struct dbk_relation *table);
void dbk_pgview_difference(struct dbk_buf *sql, const struct dbk_relation *table);
/* Removes the notes of a table that no view needs. */
int dbk_pgview_clean_notes(struct dbk_connection *connection, const struct dbk_relation *table,
                           struct dbk_error *err) DBK_MUST_CHECK;
/* Ends the following of tables on which no view has a cursor, as far as nobody holds them. */
int dbk_pgview_end_logs(struct dbk_connection *connection, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- delta.c, group.c ---- */

/* Runs what delta->sql holds, and empties it. */
int dbk_pgview_step(struct dbk_delta *delta, struct dbk_error *err) DBK_MUST_CHECK;
/* Applies the differences (d<n> of tables), and counts the rows that the view shows more. */
int dbk_pgview_apply_difference(struct dbk_delta *delta, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pgview_group(struct dbk_delta *delta, const struct dbk_relation *group,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- apply.c ---- */

/*
 * One incremental refresh, as dbk_view_apply. marks: of the tables for which the plan was last
 * found to fit, empty where it was not; set to those for which it now was.
 */
int dbk_pgview_apply(const struct dbk_view_refresh *refresh, const struct dbk_view_plan *plan,
                     struct dbk_connection *connection, struct dbk_buf *marks,
                     struct dbk_view_row *row, struct dbk_view_attempt *attempt,
                     struct dbk_error *err) DBK_MUST_CHECK;
/* The statements of one, over empty differences, in a transaction that is rolled back. */
int dbk_pgview_statements(const struct dbk_view_definition *definition,
                          const struct dbk_view_plan *plan, struct dbk_connection *connection,
                          uint64_t generation, struct dbk_buf *log,
                          struct dbk_error *err) DBK_MUST_CHECK;

/* ---- fill.c ---- */

struct dbk_pgview_fill {
    const struct dbk_view_refresh *refresh;
    char owner[DBK_VIEW_TABLE_SIZE_MAX]; /* of the cursors until it serves; empty: the view */
    struct dbk_connection *connection;
    struct dbk_view_plan *plan;
    struct dbk_view_row old;
    struct dbk_view_row row;
    struct dbk_buf sql;
};
/*
 * Its steps: the tables are followed, by transactions of their own; then in one transaction the
 * rows are stored, by a plan that fits, and served.
 */
int dbk_pgview_fill_follow(struct dbk_pgview_fill *work, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pgview_fill_rows(struct dbk_pgview_fill *work, struct dbk_error *err) DBK_MUST_CHECK;
int dbk_pgview_fill_serve(struct dbk_pgview_fill *work, struct dbk_slice shown,
                          struct dbk_error *err) DBK_MUST_CHECK;
/* A full refresh; on failure the old result stays, and the view's row says why. */
int dbk_pgview_fill(struct dbk_pgview_fill *work, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_pgview_note_failure(struct dbk_pgview_fill *work, const struct dbk_error *why);

/* ---- build.c ---- */

/* As view/build.h has them, for builds that are swapped with a model. */
int dbk_pgview_build_open(const struct dbk_view_refresh *refresh, struct dbk_view_build **build_out,
                          struct dbk_error *err);
int dbk_pgview_build_catch_up(struct dbk_view_build *build, struct dbk_error *err);
int dbk_pgview_build_swap(struct dbk_view_build *build, struct dbk_connection *connection,
                          struct dbk_error *err);
struct dbk_view_behind dbk_pgview_build_behind(struct dbk_view_build *build);
void dbk_pgview_build_free(struct dbk_view_build *build, bool swapped);

/* ---- refresh.c ---- */

int dbk_pgview_refresh(const struct dbk_view_refresh *refresh, struct dbk_error *err);
/* Why the stored rows cannot be brought up to date, into the row; empty: they can. */
void dbk_pgview_find_reason(struct dbk_pgview_fill *fill);
/* Removes the notes that no view needs of a plan's tables; what is left, a later one removes. */
void dbk_pgview_clean_plan(struct dbk_connection *connection, const struct dbk_view_plan *plan);
/* What it keeps of views that are refreshed together, of which this one is the last. */
struct dbk_pgview_joint;
struct dbk_pgview_joint **dbk_pgview_session_joint(struct dbk_view_session *session);
int dbk_pgview_session_open(struct dbk_view_session **session_out, struct dbk_error *err);
void dbk_pgview_session_free(struct dbk_view_session *session);

/* ---- swap.c ---- */

/* How long a lock is waited for, at a time. */
#define DBK_PGVIEW_LOCK_WAIT "100ms"
struct dbk_pgview_shown {
    const char *name;
    struct dbk_slice select;
};
/* Plain views show these SELECTs, inside a transaction: all of them at once. Waits for who reads
   them, some at a time. */
int dbk_pgview_show(struct dbk_connection *connection, const struct dbk_pgview_shown *views,
                    size_t count, struct dbk_error *err) DBK_MUST_CHECK;
/* The same once, where the caller's whole transaction is begun anew: DBK_EBUSY. */
int dbk_pgview_show_now(struct dbk_connection *connection, const struct dbk_pgview_shown *view,
                        struct dbk_error *err) DBK_MUST_CHECK;
/* As struct dbk_view_home has them. */
int dbk_pgview_roll_back(const struct dbk_view_definition *definition, int64_t now_us,
                         struct dbk_error *err);
int dbk_pgview_drop_kept(const struct dbk_view_definition *definition, int64_t before_us,
                         struct dbk_error *err);
/* Drops the view's tables but those of a generation, and those that are kept, as far as nobody
   reads them. */
int dbk_pgview_clean(struct dbk_connection *connection, const char *name, uint64_t generation,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- jointly.c ---- */

int dbk_pgview_jointly(const struct dbk_view_refresh *refreshes, size_t count, bool *done_out,
                       struct dbk_error *err);
/* NULL is fine. */
void dbk_pgview_joint_free(struct dbk_pgview_joint *joint);

/* ---- verify.c ---- */

int dbk_pgview_verify(const struct dbk_view_refresh *refresh, struct dbk_view_check *check_out,
                      struct dbk_error *err);

#endif
