/* SPDX-License-Identifier: Apache-2.0 */
/*
 * book -- reads and checks a project folder; names every fault by file, line and column.
 *
 * The folder's files are the only truth. All of them are read in one run, and every fault of every
 * file is reported in it, sorted, each as what, why it matters and what to do, with a did-you-mean
 * only from names really in scope. A book with errors does not open; warnings do not hinder.
 *
 * Threads: a loaded book is read-only and may be shared.
 * Source:  DESIGN section 4; YAML 1.1 by libyaml's events.
 */
#ifndef DBK_BOOK_BOOK_H
#define DBK_BOOK_BOOK_H

#include "base/diagnostics.h"
#include "capture/capture.h"
#include "command/command.h"
#include "model/model.h"
#include "os/os.h"
#include "saga/saga.h"
#include "schema/schema.h"
#include "service/service.h"
#include "view/view.h"

struct dbk_book_file {
    const char *name; /* what it defines: "order", "PlaceOrder", "online_retail" */
    const char *file; /* its path from the book's folder */
    struct dbk_slice source;
};

struct dbk_book_database {
    const char *name;
    const char *path; /* its address (target/target.h); a file's is absolute, or in the data
                         directory */
};

/* A query: queries/<Name>.sql, one SELECT with :parameters, under an optional comment head
   (`-- database: reading`). */
struct dbk_book_query {
    const char *name;
    const char *file;
    struct dbk_slice sql;
    struct dbk_slice whole; /* of the file, with its head */
    const struct dbk_book_database *database;
    const char *const *parameters; /* in order of their number */
    size_t parameter_count;
};

struct dbk_book {
    struct dbk_arena arena;
    const char *name;
    const char *folder;     /* as given */
    const char *data;       /* the data directory */
    size_t event_size_max;  /* bytes */
    size_t batch_count_max; /* events */
    const struct dbk_book_database *databases;
    size_t database_count;
    enum dbk_schema_mode schema_mode; /* what an append does about events that do not fit */
    int64_t horizon_us;               /* how long backups of keys are kept at most */
    struct dbk_schemas *schemas;
    const char *keys_root; /* file with the passphrase that keys are under; NULL: none */
    const struct dbk_book_file *folds;
    size_t fold_count;
    const struct dbk_book_file *commands;
    size_t command_count;
    const struct dbk_service_command *service_commands; /* commands/<Name>.sql, .json */
    size_t service_command_count;
    const struct dbk_book_file *sagas;
    size_t saga_count;
    const struct dbk_saga_target *targets; /* book.yaml's `calls:` */
    size_t target_count;
    const struct dbk_book_file *imports;
    size_t import_count;
    const struct dbk_book_query *queries;
    size_t query_count;
    const struct dbk_model_definition *models;
    size_t model_count;
    const struct dbk_view_definition *views;
    size_t view_count;
    const struct dbk_capture_service *services; /* services/<name>.yaml, in byte order */
    const struct dbk_service_definition *service_definitions; /* the same, as owners */
    size_t service_count;
};

struct dbk_book_options {
    struct dbk_os *os;
    const char *folder;      /* where book.yaml is */
    const char *data;        /* overrides its `data:`; NULL: as it says */
    const char *environment; /* book.<environment>.yaml on top; NULL: none */
};

/*
 * Loads and checks a book. Faults go to the list; book_out is set when the book has no errors.
 *
 * DBK_EBOOK      it has errors (see the list)
 * DBK_ENOTFOUND  no book.yaml there; the message says what to do
 * DBK_EIO, DBK_ENOMEM
 */
int dbk_book_load(const struct dbk_book_options *options, struct dbk_diagnostics *diagnostics,
                  struct dbk_book **book_out, struct dbk_error *err) DBK_MUST_CHECK;
void dbk_book_free(struct dbk_book *book);

/*
 * What would not run unchanged on the other SQL target, SQLite or PostgreSQL: for each a fault with
 * place and what to write instead, and a warning for what runs and means something else.
 *
 * DBK_ENOTFOUND  PostgreSQL's module is not installed
 * DBK_EIO, DBK_ENOMEM
 */
int dbk_book_check_portable(const struct dbk_book *book, struct dbk_os *os,
                            struct dbk_diagnostics *faults, struct dbk_error *err) DBK_MUST_CHECK;

/* What a command of a service is kept from in its database; lies in the arena. */
int dbk_book_fence(const struct dbk_book *book, struct dbk_arena *arena,
                   struct dbk_service_command *command, struct dbk_error *err) DBK_MUST_CHECK;

/* A model's or view's database by name, NULL when there is none. */
const struct dbk_book_database *dbk_book_database(const struct dbk_book *book, const char *name);

/* A service by name, NULL when there is none. */
const struct dbk_capture_service *dbk_book_service(const struct dbk_book *book,
                                                   struct dbk_slice name);

/* True when a version of an event type has personal fields. */
bool dbk_book_has_personal(const struct dbk_schemas *schemas, struct dbk_slice type);

#endif
