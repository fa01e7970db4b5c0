/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver -- what a kind of database does behind target/target.h, function by function.
 *
 * SQLite's is built in. Others are modules, shared objects that are loaded when a book first names
 * one: `daybook-<kind>.so`, which exports `dbk_driver` and stands beside the program or in
 * <libdir>/daybook. A module has a copy of the rooms it leans on, so memory is given back where it
 * was taken: through the driver.
 *
 * Threads: as target/target.h says.
 */
#ifndef DBK_TARGET_DRIVER_H
#define DBK_TARGET_DRIVER_H

#include "target/target.h"

/* A module of another version is refused. */
#define DBK_DRIVER_VERSION 7
#define DBK_DRIVER_SYMBOL "dbk_driver"

struct dbk_driver {
    unsigned version;
    enum dbk_dialect dialect;
    /* address: without its kind. connection_out and statement_out begin with the structs below. */
    int (*open)(const char *address, unsigned flags, struct dbk_connection **connection_out,
                struct dbk_error *err);
    void (*close)(struct dbk_connection *connection);
    int (*run)(struct dbk_connection *connection, const char *sql, struct dbk_error *err);
    int (*begin)(struct dbk_connection *connection, enum dbk_begin how, struct dbk_error *err);
    int (*settle)(struct dbk_connection *connection, bool constraints, struct dbk_error *err);
    void (*guard)(struct dbk_connection *connection, enum dbk_guard guard);
    int (*checkpoint)(struct dbk_connection *connection, struct dbk_error *err);
    void (*limit_us)(struct dbk_connection *connection, int64_t limit_us);
    void (*interrupt)(struct dbk_connection *connection);
    bool (*deferred_violation)(struct dbk_connection *connection);
    bool (*in_transaction)(struct dbk_connection *connection);
    int (*statement_open)(struct dbk_connection *connection, struct dbk_slice sql,
                          struct dbk_statement **statement_out, int *offset_out,
                          struct dbk_error *err);
    void (*statement_free)(struct dbk_statement *statement);
    void (*bind)(struct dbk_statement *statement, int index, const struct dbk_value *value);
    int (*step)(struct dbk_statement *statement, struct dbk_error *err);
    void (*reset)(struct dbk_statement *statement);
    bool (*is_read_only)(const struct dbk_statement *statement);
    int (*column_count)(const struct dbk_statement *statement);
    const char *(*column_name)(const struct dbk_statement *statement, int column);
    struct dbk_value (*column)(struct dbk_statement *statement, int column);
    /* Without a connection; NULL where a connection in memory tells (SQLite). */
    int (*check)(struct dbk_slice sql, enum dbk_guard guard, int *offset_out,
                 struct dbk_error *err);
    int (*objects)(struct dbk_slice schema, dbk_object_fn each, void *context,
                   struct dbk_error *err);
    /* Of databases whose language is not SQL; else NULL. */
    const char *const *catalog; /* texts by enum dbk_catalog */
    int (*drop)(struct dbk_connection *connection, struct dbk_slice prefix, struct dbk_error *err);
    /* NULL: it is always "transaction". */
    int (*mode)(struct dbk_connection *connection, const char **mode_out, struct dbk_error *err);
    /* Of documents; else NULL. */
    int (*change)(struct dbk_statement *statement, const struct dbk_document_wish *wish,
                  enum dbk_document_outcome *outcome_out, struct dbk_error *err);
    /* NULL: never. */
    bool (*is_full)(const struct dbk_connection *connection);
    /* NULL: it cannot tell. */
    uint64_t (*suspects)(const struct dbk_connection *connection, uint64_t *first_out);
};

struct dbk_connection {
    const struct dbk_driver *driver;
};

struct dbk_statement {
    const struct dbk_driver *driver;
};

/*
 * The driver of an address, and what stands behind its kind in rest_out. DBK_ENOTFOUND: its module
 * is not installed; the message says which package has it. DBK_EFORMAT: it is of another version.
 */
int dbk_driver_of(const char *address, const struct dbk_driver **driver_out, const char **rest_out,
                  struct dbk_error *err) DBK_MUST_CHECK;

#endif
