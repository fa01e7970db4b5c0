/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model -- read models: tables posted from events by handlers in SQL, exactly once.
 *
 * A definition (model.yaml, schema.sql and handlers, read by the room `book`) becomes generation 1,
 * 2, … in its database. Tables of generation g are named `<table>__g<g>`; a plain view `<table>`
 * points at the serving generation, so that a swap is one short transaction and anyone may read the
 * database with its own tools. `_daybook_models` holds for each generation its position, its
 * fingerprint and the whole definition, changed in the transaction that posts the events: that is
 * what makes it exactly-once, and what lets the serving generation go on under the definition it
 * was built with when the files have changed.
 *
 * Handlers: one SQL text a type, of one or more statements. Parameters: `:name` is a member of the
 * event's data, `:a.b` a nested one (arrays and objects as JSON text; true and false as 1 and 0; a
 * missing member is NULL); `:_stream :_version :_position :_time :_occurred :_id :_type :_data
 * :_meta :_category` come from the envelope; times are RFC 3339 text.
 *
 * sync: events       a runner thread a model posts what has been appended, in batches
 * sync: cdc, polling the same, of a service's tables, whose changes are captured (room `capture`)
 * sync: transaction  the store's participant: handlers run inside an open transaction before the
 *                    log commits (see dbk_store_set_participant and DESIGN section 3)
 *
 * A handler that fails stops its model at that event, with an error that names event and
 * statement; other models go on. With `on_error: set-aside` the event becomes a letter
 * (model/letters.h), and the model goes on behind it.
 *
 * Threads: all functions from any thread.
 * Source:  DESIGN sections 3 and 6.
 */
#ifndef DBK_MODEL_MODEL_H
#define DBK_MODEL_MODEL_H

#include "base/diagnostics.h"
#include "fold/fold.h"
#include "store/store.h"
#include "target/target.h"

/* CDC and POLLING are EVENTS of tables: what tells them apart is how the events come to be. */
enum dbk_model_sync { DBK_SYNC_EVENTS, DBK_SYNC_TRANSACTION, DBK_SYNC_CDC, DBK_SYNC_POLLING };
/* "events", … */
const char *dbk_model_sync_text(enum dbk_model_sync sync);

/* What becomes of personal fields in a model's tables when their subject is forgotten. */
enum dbk_model_personal {
    DBK_PERSONAL_NONE,    /* it takes none */
    DBK_PERSONAL_REBUILD, /* the model is built anew, without them */
    DBK_PERSONAL_PURGE,   /* statements take them out */
    DBK_PERSONAL_SEALED,  /* they never are in them, but what unseal() finds them by (target.h) */
};
/* A personal field of an event type, as one of the type's schemas has it ("lines[].note"). */
struct dbk_personal_field {
    struct dbk_slice type;
    struct dbk_slice path;
};

struct dbk_handler {
    const char *file;      /* for messages, from the book's folder */
    unsigned line;         /* where sql begins in it, from 1 */
    struct dbk_slice type; /* the event type it handles */
    uint16_t version;      /* events written in this version, as written; 0: all others */
    struct dbk_slice sql;
};

/* All of a model's files; slices and names belong to the book. */
struct dbk_model_definition {
    const char *name;
    const char *database;      /* its name in book.yaml, for messages */
    const char *database_path; /* the SQLite file */
    enum dbk_model_sync sync;
    const struct dbk_slice *categories; /* `source:` */
    size_t category_count;
    const char *schema_file;
    struct dbk_slice schema;
    const struct dbk_handler *handlers;
    size_t handler_count;
    enum dbk_model_personal personal;                 /* `personal:` */
    const char *purge_file;                           /* of PURGE, for messages */
    struct dbk_slice purge;                           /* statements with :_subject and :_stream */
    const struct dbk_personal_field *personal_fields; /* of all types that it handles */
    size_t personal_field_count;
    int64_t max_lag_us; /* `max_lag:`; 0: none. Like what follows no part of what builds tables */
    bool refuse_stale;  /* `stale: refuse`: reads end with DBK_ESTALE past it */
    bool set_aside;     /* `on_error: set-aside`; no part of what builds tables either */
    /* Changes with the upcasters of the types that are handled, and the folds of streams whose
       state handlers take. */
    struct dbk_slice upcasts;
    const struct dbk_slice *personal_states; /* categories whose folds take personal fields */
    size_t personal_state_count;
};

/*
 * Checks a definition against an empty database in memory: schema and every handler prepare under
 * their guards, generation names included; no column has a table's name; every handler's type is
 * handled once; what takes a personal field says how it is forgotten. Faults go to the list with
 * file, line and column. DBK_ENOMEM only.
 */
int dbk_model_check(const struct dbk_model_definition *definition,
                    struct dbk_diagnostics *diagnostics, struct dbk_error *err) DBK_MUST_CHECK;
/* The names of the tables and views a (checked) schema creates, in the arena. */
int dbk_model_tables(const struct dbk_model_definition *definition, struct dbk_arena *arena,
                     const char ***names_out, size_t *count_out,
                     struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_models;

/* store is kept until free. */
int dbk_models_open(struct dbk_store *store, struct dbk_models **models_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
/* Stops the runners after the batch they are in. */
void dbk_models_free(struct dbk_models *models);

/* Whose states handlers may take (model/with.h), before the first model is added; kept until
   free. */
void dbk_models_set_folds(struct dbk_models *models, struct dbk_folds *folds);

/* Adds a model; the definition is copied. In a writing process generation 1 is made when there is
   none. */
int dbk_models_add(struct dbk_models *models, const struct dbk_model_definition *definition,
                   bool writer, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Starts the runners, brings `transaction` models up to the log's end and enters them as the
 * store's participant. Only in the writing process.
 */
int dbk_models_start(struct dbk_models *models, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Waits until a model has posted everything up to a position. DBK_ETIMEOUT: the message says how
 * far it is; DBK_ESCRIPT: it stopped, with its error; DBK_ENOTFOUND: no such model. timeout_us 0:
 * looks only.
 */
int dbk_models_wait(struct dbk_models *models, const char *name, uint64_t position,
                    int64_t timeout_us, struct dbk_error *err) DBK_MUST_CHECK;

/* How far a position is behind the log: in events, and by the age of the oldest event behind it. */
int dbk_models_lag(struct dbk_models *models, uint64_t position, uint64_t *events_out,
                   int64_t *lag_us_out, struct dbk_error *err) DBK_MUST_CHECK;

struct dbk_model_status {
    const char *name; /* valid until free */
    const char *database;
    enum dbk_model_sync sync;
    const char *mode; /* how posting is exactly-once (dbk_connection_mode); NULL: not known here */
    uint64_t generation;
    uint64_t position;        /* everything up to it is in */
    int64_t position_time_us; /* when that event was recorded */
    uint64_t lag_events;      /* log's last position - position */
    int64_t lag_us;           /* age of the oldest event not yet in; 0 when there is none */
    int64_t max_lag_us;       /* of its definition; 0: none */
    bool late;                /* lag_us is past it */
    bool stopped;
    bool changed;                /* the files differ from what built the serving generation */
    uint64_t rebuild_generation; /* being built beside; 0: none */
    uint64_t rebuild_position;
    uint64_t events_posted; /* since start */
    uint64_t batches;
    double events_per_second; /* over the last ten whole seconds */
    uint64_t failures;        /* since start: at events that a handler could not digest */
    uint64_t retries;         /* since start: after what may pass, such as a lost connection */
    uint64_t letters;         /* events set aside that wait */
    bool set_aside;           /* `on_error: set-aside` */
    /* From an event's commit at its source until it could be read, of those recorded since start
       (model/pace.h). */
    uint64_t visible_count;
    uint64_t visible_sum_us;
    int64_t visible_p50_us;
    int64_t visible_p99_us;
    int64_t visible_max_us;
    struct dbk_error error; /* why it stopped */
};
size_t dbk_models_count(const struct dbk_models *models);
int dbk_models_status(struct dbk_models *models, size_t index, struct dbk_model_status *status_out,
                      struct dbk_error *err) DBK_MUST_CHECK;
/* Index of a model by name; DBK_ENOTFOUND with the closest name. */
int dbk_models_find(struct dbk_models *models, const char *name, size_t *index_out,
                    struct dbk_error *err) DBK_MUST_CHECK;

/*
 * When an event got into a model and was first read there, as far as it is known: the process that
 * posts remembers so many of its last batches (base/trail.h), and reads through Daybook.
 */
struct dbk_model_moments {
    const char *model;
    bool applied;        /* the model's position has passed it */
    int64_t received_us; /* the batch that has it was begun; DBK_TIME_NONE: not, or not known */
    int64_t applied_us;  /* and committed */
    int64_t seen_us;     /* the first read past it was answered */
    /* Why one of them is not there; empty where it is. */
    char applied_why[256];
    char seen_why[256];
};
/* 1: the model handles such an event; 0: it does not. */
int dbk_models_moments(struct dbk_models *models, size_t index, const struct dbk_event *event,
                       struct dbk_model_moments *moments_out);
/* A read has been answered from a model that was at a position. */
void dbk_models_seen(struct dbk_models *models, size_t index, uint64_t position);

/*
 * What stands on a model's tables, and is built on those of its next generation before they are
 * swapped, and swapped in the same transaction: views (view/along.h). `next` is valid until done.
 */
struct dbk_model_next {
    const char *model;
    const char *database_path;
    uint64_t generation;
    const struct dbk_slice *names;  /* of its tables: the plain views' … */
    const struct dbk_slice *tables; /* … and those of this generation */
    size_t table_count;
};
typedef bool (*dbk_along_goes_on_fn)(void *context);
struct dbk_models_along {
    void *context;
    /* Between two batches of the rebuild, which nobody else posts to. *built_out may stay NULL.
       Fails where goes_on answers false (DBK_ESTOPPED) or the memory is at its end; what cannot be
       built otherwise is left out. */
    int (*build)(void *context, const struct dbk_model_next *next, dbk_along_goes_on_fn goes_on,
                 void *goes_on_context, void **built_out, struct dbk_error *err);
    /* Brings what was built up to date with the next generation; the last time under `work`. */
    void (*catch_up)(void *built);
    /* Inside the swap's transaction. */
    int (*swap)(void *built, struct dbk_connection *connection, struct dbk_error *err);
    /* The swap was committed; or it was not, and what was built goes. */
    void (*done)(void *built, bool swapped);
};
/* Has somebody told, from the threads that post, that a model has moved or stopped; quick, and asks
   nothing of the models. NULL: nobody any longer, and nobody is being told. */
void dbk_models_on_moved(struct dbk_models *models, void (*moved)(void *context), void *context);
/* Kept until free; before the first rebuild. */
void dbk_models_set_along(struct dbk_models *models, const struct dbk_models_along *along);

/*
 * Builds the next generation from the files' definition beside the serving one, catches up, swaps,
 * drops the old one bit by bit. Blocks; progress (may be NULL) is called now and then and ends the
 * rebuild (to be resumed by the next call) when it answers false.
 */
typedef bool (*dbk_progress_fn)(void *context, uint64_t done, uint64_t total);
int dbk_models_rebuild(struct dbk_models *models, const char *name, dbk_progress_fn progress,
                       void *context, struct dbk_error *err) DBK_MUST_CHECK;

#endif
