/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target -- databases that are written to or read from.
 *
 * One interface: SQLite is built in, PostgreSQL is a module (target/driver.h) that is loaded when
 * a book names one. A database is named in book.yaml (`reading: sqlite:reading.db`, `users:
 * postgres:file:secrets/users`) and known here by its address: a file's path, or `postgres:` and
 * where its connection string stands. A connection is one session; statements are prepared once
 * and run with parameters bound by index.
 *
 * Read-only sessions of SQLite may use the virtual table `events` (dbk_target_attach_events): the
 * log itself, eponymous, read-only, pinned to one position per statement, with constraints on
 * position, stream, version, category, type, time and occurred pushed down to the store. Its
 * columns: position, stream, category, version, type, time, occurred (RFC 3339 text in UTC;
 * occurred is the event's time where none was given), id, tags (JSON array), data, meta,
 * schema_version.
 *
 * Threads: a database from any thread; a connection and its statements from one at a time.
 * Source:  sqlite.org/c3ref, sqlite.org/vtab.html; PostgreSQL's manual, libpq.
 */
#ifndef DBK_TARGET_TARGET_H
#define DBK_TARGET_TARGET_H

#include <stdbool.h>

#include "json/decimal.h"
#include "store/store.h"

struct dbk_connection;
struct dbk_statement;

/* A value to bind or read. */
enum dbk_value_kind {
    DBK_VALUE_NULL,
    DBK_VALUE_INTEGER,
    DBK_VALUE_REAL,
    DBK_VALUE_DECIMAL, /* exact; a REAL to SQLite */
    DBK_VALUE_TEXT,
    DBK_VALUE_BLOB,
};

struct dbk_value {
    enum dbk_value_kind kind;
    bool json; /* a TEXT that is JSON, or an INTEGER that is false or true there */
    union {
        int64_t integer;
        double real;
        struct dbk_decimal decimal;
        struct dbk_slice bytes; /* TEXT, BLOB */
    };
};

/* As JSON; what is no text is "\\x" and hexadecimal digits. */
void dbk_value_write_json(struct dbk_buf *out, const struct dbk_value *value);

enum dbk_connect_flags {
    DBK_CONNECT_READ = 1 << 0,     /* reading only; DBK_ENOTFOUND when there is no file */
    DBK_CONNECT_MEMORY = 1 << 1,   /* a private empty database; path is ignored */
    DBK_CONNECT_HANDLERS = 1 << 2, /* guard what runs (dbk_target_guard) */
    /* Somebody else's database: DBK_ENOTFOUND when there is no file, and it keeps its journal. */
    DBK_CONNECT_FOREIGN = 1 << 3,
    /* Keeps what was prepared: a SQLite statement that was freed, and opened without a guard, is
       taken again for the next of the same text. */
    DBK_CONNECT_KEEP = 1 << 4,
};

enum dbk_dialect {
    DBK_DIALECT_SQLITE,
    DBK_DIALECT_POSTGRES,
    DBK_DIALECT_CYPHER,
    DBK_DIALECT_MONGODB
};
enum dbk_dialect dbk_target_dialect(const char *address);
/* The others have a catalog (dbk_catalog_open), and one prefix a generation in place of names. */
static inline bool dbk_dialect_is_sql(enum dbk_dialect dialect)
{
    return dialect == DBK_DIALECT_SQLITE || dialect == DBK_DIALECT_POSTGRES;
}
/* What else the module of an address's kind brings, by name; NULL: nothing of that name. As
   dbk_connection_open fails when it cannot be loaded. */
int dbk_target_symbol(const char *address, const char *name, const void **symbol_out,
                      struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Opens a session. A SQLite file is created when missing (WAL, foreign keys on, a busy timeout);
 * what is deleted is overwritten, and handlers' sessions keep what is temporary in memory.
 *
 * DBK_ECONNECT  the server cannot be reached, or refuses; the message says why, and never what the
 *               connection string holds
 * DBK_ENOTFOUND its module is not installed, or (DBK_CONNECT_READ) there is no such file
 */
int dbk_connection_open(const char *address, unsigned flags, struct dbk_connection **connection_out,
                        struct dbk_error *err) DBK_MUST_CHECK;
enum dbk_dialect dbk_connection_dialect(const struct dbk_connection *connection);
/* Statements must be freed before. NULL is fine. */
void dbk_connection_free(struct dbk_connection *connection);

/* Runs SQL text of any number of statements without parameters; the message has the statement. */
int dbk_connection_run(struct dbk_connection *connection, const char *sql,
                       struct dbk_error *err) DBK_MUST_CHECK;

/* Brings all of the write-ahead log into the database, and empties it. DBK_EBUSY: someone reads an
   older state. */
int dbk_connection_checkpoint(struct dbk_connection *connection,
                              struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Begins a transaction: COMMIT and ROLLBACK end it. A server's session that was lost is made again
 * first, and its statements are prepared again with their next use. DBK_ECONNECT.
 */
enum dbk_begin { DBK_BEGIN_READ, DBK_BEGIN_WRITE };
int dbk_connection_begin(struct dbk_connection *connection, enum dbk_begin how,
                         struct dbk_error *err) DBK_MUST_CHECK;
/*
 * A server's session sends statements that return no rows ahead, without waiting for their ends:
 * this waits for all of them, and checks deferred constraints where asked to. The first that failed
 * says why, and then the transaction is lost. dbk_statement_step may report the failure of an
 * earlier statement.
 */
int dbk_connection_settle(struct dbk_connection *connection, bool constraints,
                          struct dbk_error *err) DBK_MUST_CHECK;

/*
 * What handlers may do: INSERT, UPDATE, DELETE, SELECT on ordinary tables. While the guard is on
 * the preparation of anything else fails with DBK_EDENIED and says why: transaction control,
 * ATTACH, VACUUM, PRAGMA, schema changes, OR ROLLBACK, and functions that read the clock or chance
 * (random, randomblob, date and time functions of 'now', CURRENT_TIMESTAMP, changes and
 * last_insert_rowid are allowed), load_extension, and tables beginning with `_daybook`.
 * `schema` allows CREATE of tables, indexes, triggers and views in main, and nothing else.
 * `command` is a handler that runs once, in a service's own database: it has the clock,
 * chance and sequences, and its tables' triggers may keep a journal.
 * `purge` is a handler that forgets: it may change many of MongoDB's documents.
 * `sent` is a query that is no file of the book: on a server it may call no functions but those
 * that dbk_sql_is_plain_function knows, also where one looks like a column.
 */
enum dbk_guard {
    DBK_GUARD_NONE,
    DBK_GUARD_HANDLER,
    DBK_GUARD_SCHEMA,
    DBK_GUARD_QUERY,
    DBK_GUARD_SENT,
    DBK_GUARD_COMMAND,
    DBK_GUARD_PURGE,
};
void dbk_connection_guard(struct dbk_connection *connection, enum dbk_guard guard);

/*
 * Has a session tell what statements use while they are prepared: tables and columns as SQLite
 * itself finds them, through views and triggers. column is "" where none is meant. NULL ends it.
 * Only SQLite's sessions tell anything. While it is on, nothing is refused.
 */
enum dbk_watched { DBK_WATCHED_READ, DBK_WATCHED_INSERT, DBK_WATCHED_UPDATE, DBK_WATCHED_DELETE };
typedef void (*dbk_watch_fn)(void *context, const char *table, const char *column,
                             enum dbk_watched what);
void dbk_connection_watch(struct dbk_connection *connection, dbk_watch_fn watch, void *context);

/*
 * What makes posting exactly-once: "transaction", in which a batch and its position are one, or
 * "guarded", where each document knows what was done to it (MongoDB without transactions). Valid as
 * long as the program. DBK_ECONNECT: a server is asked.
 */
int dbk_connection_mode(struct dbk_connection *connection, const char **mode_out,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* Ends a statement that runs too long with DBK_ETIMEOUT; 0: no limit. */
void dbk_connection_limit_us(struct dbk_connection *connection, int64_t limit_us);

/* Ends the statement that runs now, from any thread: it fails with DBK_ESCRIPT. A server's session
   is over then. */
void dbk_connection_interrupt(struct dbk_connection *connection);

/*
 * Prepares one statement; parameters are ?1 … ?n.
 * offset_out  (may be NULL) on failure, the byte in sql where it was found wrong, or -1
 * DBK_EINVAL  it does not prepare; DBK_EDENIED: the guard
 */
int dbk_statement_open(struct dbk_connection *connection, struct dbk_slice sql,
                       struct dbk_statement **statement_out, int *offset_out,
                       struct dbk_error *err) DBK_MUST_CHECK;
void dbk_statement_free(struct dbk_statement *statement);
/* index from 1; text and blobs are borrowed until reset or the next bind. */
void dbk_statement_bind(struct dbk_statement *statement, int index, const struct dbk_value *value);
/* 1: a row; 0: done; DBK_EREFUSED: a constraint; DBK_EBUSY; DBK_ETIMEOUT; DBK_EFULL; DBK_ESCRIPT
   for any other failure, with the database's own text. */
int dbk_statement_step(struct dbk_statement *statement, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_statement_reset(struct dbk_statement *statement);
bool dbk_statement_is_read_only(const struct dbk_statement *statement);
int dbk_statement_column_count(const struct dbk_statement *statement);
/* Valid until the statement is freed. */
const char *dbk_statement_column_name(const struct dbk_statement *statement, int column);
/* Of the current row; valid until the next step or reset. */
struct dbk_value dbk_statement_column(struct dbk_statement *statement, int column);

/* ---- One document, once ---- */

/*
 * A MongoDB statement that was opened under DBK_GUARD_COMMAND: one update of one document, which
 * is done once for an id, also at a server without transactions and after an answer was lost.
 *
 * A document that commands changed has the member `_daybook_command`: how many there were (n), and
 * the id and hash of the last. A run reads it, looks the id up in the collection
 * `_daybook_commands`, moves what the last one left there into it, and changes the document only
 * where the member still is what was read. So the change and its id are one write; what a server
 * does long after its client was cut finds another n; and a document keeps one id.
 */
struct dbk_document_wish {
    struct dbk_slice id;   /* UUID of (command, key); empty: there is no key */
    struct dbk_slice hash; /* of the body */
    int64_t now_us;
    bool must; /* MISSED where no document matches; else nothing is done then, and that is kept */
    bool dry_run; /* tells, and changes nothing */
};
enum dbk_document_outcome {
    DBK_DOCUMENT_DONE,
    DBK_DOCUMENT_KNOWN,  /* by an earlier run */
    DBK_DOCUMENT_OTHER,  /* the id was used with another hash */
    DBK_DOCUMENT_MISSED, /* and what was sent before for the id will not match any more */
};
/*
 * DBK_EUNKNOWN  the server was lost meanwhile: ask again with the id
 * DBK_EBUSY     others changed the document all the time
 * DBK_EREFUSED  a value or validator; as dbk_statement_step
 */
int dbk_statement_change(struct dbk_statement *statement, const struct dbk_document_wish *wish,
                         enum dbk_document_outcome *outcome_out,
                         struct dbk_error *err) DBK_MUST_CHECK;

/* True when a deferred foreign key is violated now (SQLITE_DBSTATUS_DEFERRED_FKS). */
bool dbk_connection_deferred_violation(struct dbk_connection *connection);
/* True when so much waits for COMMIT in memory that the transaction should take no more. */
bool dbk_connection_is_full(const struct dbk_connection *connection);
/* Of so many events from this position on one is what the last transaction failed at; 0: of all. */
uint64_t dbk_connection_suspects(const struct dbk_connection *connection, uint64_t *first_out);
/* False when a handler ended the transaction it was run in. */
bool dbk_connection_in_transaction(struct dbk_connection *connection);

/*
 * The same without a server, where SQLite would be asked in memory: whether a statement is one, and
 * one that the guard allows. offset_out: the byte where it is not, or -1. Not for SQLite.
 */
int dbk_target_check(const char *address, struct dbk_slice sql, enum dbk_guard guard,
                     int *offset_out, struct dbk_error *err) DBK_MUST_CHECK;
/* What a schema creates, in its order; the name is valid for the call. Not for SQLite. */
enum dbk_object_kind { DBK_OBJECT_TABLE, DBK_OBJECT_VIEW, DBK_OBJECT_INDEX, DBK_OBJECT_TRIGGER };
typedef int (*dbk_object_fn)(void *context, enum dbk_object_kind kind, struct dbk_slice name);
int dbk_target_objects(const char *address, struct dbk_slice schema, dbk_object_fn each,
                       void *context, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- SQL text ---- */

/*
 * A scanner that knows SQL's strings, comments, quoted identifiers and parameters, and nothing
 * more: for splitting files into statements, finding :parameters (also :a.b) and renaming
 * identifiers. Tokens are slices of the text.
 */
enum dbk_sql_kind {
    DBK_SQL_END,
    DBK_SQL_SPACE, /* white space and comments */
    DBK_SQL_NAME,  /* identifier or keyword, also "quoted", [quoted], `quoted` */
    DBK_SQL_STRING,
    DBK_SQL_NUMBER,
    DBK_SQL_PARAMETER, /* :a.b.c; @x, $x and ? are DBK_SQL_OTHER */
    DBK_SQL_SEMICOLON,
    DBK_SQL_OTHER,
    DBK_SQL_BROKEN, /* an unterminated string, comment or quoted name */
};
struct dbk_sql_token {
    enum dbk_sql_kind kind;
    struct dbk_slice text;
};
/* The token at an offset; the next one begins behind it. */
struct dbk_sql_token dbk_sql_next(struct dbk_slice sql, size_t offset);
/* True when a name token means this name (case-insensitive as SQL is, quotes removed). */
bool dbk_sql_name_is(struct dbk_slice token, struct dbk_slice name);
/* True when the SQL has a name that means this one anywhere: more than it reads, never less. */
bool dbk_sql_names(struct dbk_slice sql, const char *name);
/* True when PostgreSQL itself has functions of that name, none of which reaches anything but what
   it is given, the clock and chance. */
bool dbk_sql_is_plain_function(struct dbk_slice name);
/* The next whole statement from an offset (CREATE TRIGGER … BEGIN … END is one), without its
   semicolon; empty at the end. offset_out: behind it. */
struct dbk_slice dbk_sql_statement(struct dbk_slice sql, size_t offset, size_t *offset_out);

/*
 * Appends the text with :name parameters as ?1 … ?n (equal names share a number; same length where
 * possible is not promised) and with names renamed. names_out: in the arena, without the colon, in
 * order of number.
 */
struct dbk_sql_rename {
    struct dbk_slice from;
    struct dbk_slice to;
};
int dbk_sql_rewrite(struct dbk_slice sql, const struct dbk_sql_rename *renames, size_t rename_count,
                    struct dbk_buf *out, struct dbk_arena *arena, struct dbk_slice **names_out,
                    size_t *name_count_out, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * The same in a database's own language. Cypher's parameters become $_[0] and so on, and its names
 * {gen}Name take the first rename's `to` as their prefix (none: they stay as they are); where a
 * statement goes wrong is found in it as it was written, so dbk_target_check takes it so. MongoDB's
 * become {"$_": 0} and so on; of a command that changes something `_position` is one more.
 */
struct dbk_slice dbk_text_statement(enum dbk_dialect dialect, struct dbk_slice text, size_t offset,
                                    size_t *offset_out);
/* The next parameter from an offset, without its sign; empty: there is none. offset_out: behind. */
struct dbk_slice dbk_text_parameter(enum dbk_dialect dialect, struct dbk_slice text, size_t offset,
                                    size_t *offset_out);
int dbk_text_rewrite(enum dbk_dialect dialect, struct dbk_slice text,
                     const struct dbk_sql_rename *renames, size_t rename_count, struct dbk_buf *out,
                     struct dbk_arena *arena, struct dbk_slice **names_out, size_t *name_count_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* ---- The catalog of a database whose language is not SQL ---- */

/*
 * What Daybook keeps of its models there (model/generation.h), each as a statement of that database
 * with these parameters, ?1 first.
 */
enum dbk_catalog {
    DBK_CATALOG_MAKE,     /* none; changes nothing where it is done */
    DBK_CATALOG_FIND,     /* model, serving -> generation, position, fingerprint, definition */
    DBK_CATALOG_NEWEST,   /* model -> generation, or 0 */
    DBK_CATALOG_POSITION, /* model -> of the serving generation */
    DBK_CATALOG_FENCE,    /* model, generation -> position; see model/state.h. MongoDB's alone */
    DBK_CATALOG_PURGED,   /* model, generation -> position */
    DBK_CATALOG_RETRIED,  /* model, generation -> positions of letters (model/letters.h) */
    DBK_CATALOG_INSERT,   /* model, generation, serving, fingerprint, definition */
    DBK_CATALOG_SET_POSITION,  /* position, model, generation, the position before: else it fails */
    DBK_CATALOG_SERVE,         /* model, generation */
    DBK_CATALOG_SET_PURGED,    /* model, generation, position */
    DBK_CATALOG_SET_RETRIED,   /* model, generation, position; fails where it is set */
    DBK_CATALOG_CLEAR_RETRIED, /* model, generation, position */
    DBK_CATALOG_REMOVE,        /* model, generation */
    DBK_CATALOG_COUNT
};
int dbk_catalog_open(struct dbk_connection *connection, enum dbk_catalog which,
                     struct dbk_statement **statement_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Removes all that has names with a prefix, in small transactions. */
int dbk_connection_drop(struct dbk_connection *connection, struct dbk_slice prefix,
                        struct dbk_error *err) DBK_MUST_CHECK;

/* ---- The log as a table ---- */

/* Its name and columns; other tables that stand for it have the same. */
#define DBK_EVENTS_TABLE "events"
#define DBK_EVENTS_COLUMNS                                                                         \
    "(position INTEGER, stream TEXT, category TEXT, version INTEGER, type TEXT, time TEXT, "       \
    "occurred TEXT, id TEXT, tags TEXT, data, meta TEXT, schema_version INTEGER)"

/* Makes the virtual table `events` known to a session, and the function unseal(text), which gives
   what a model with `personal: sealed` only refers to; the store is kept until it is freed.
   position_max: reads see no event past it; 0: what is synced when a statement begins. */
int dbk_target_attach_events(struct dbk_connection *connection, struct dbk_store *store,
                             struct dbk_error *err) DBK_MUST_CHECK;
/* The function alone, in a session without a log: what it is given it gives back. */
int dbk_target_attach_unseal(struct dbk_connection *connection,
                             struct dbk_error *err) DBK_MUST_CHECK;
/* Pins `events` for the statements that follow; 0: no pin. Returns what the last statement saw by
   dbk_target_events_position. */
void dbk_target_pin_events(struct dbk_connection *connection, uint64_t position_max);
/* Ends `events` at a position for the statements that follow (0: it is empty), and leaves out what
   occurred after an instant (NULL: nothing; an event without one counts by its time). */
void dbk_target_end_events(struct dbk_connection *connection, uint64_t position,
                           const int64_t *occurred_max_us);
uint64_t dbk_target_events_position(struct dbk_connection *connection);
/* What a stream's rules leave out is in `events` until it has lost its content, also where a
   statement asks for the stream by name: so that what it gives does not depend on how. */
void dbk_target_whole_events(struct dbk_connection *connection);

/* True when a file of an SQLite session was removed, or replaced, since it was opened: what is read
   of it is read all the same. */
bool dbk_target_has_moved(struct dbk_connection *connection);

#endif
