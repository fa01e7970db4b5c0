/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poster -- one generation's handlers, prepared on a connection.
 *
 * Threads: one at a time.
 */
#ifndef DBK_MODEL_POSTER_H
#define DBK_MODEL_POSTER_H

#include "model/definition.h"
#include "model/states.h"

struct dbk_poster;

/* Where a handler's parameter comes from. */
enum dbk_parameter_kind {
    DBK_PARAMETER_DATA, /* a path in the event's data */
    DBK_PARAMETER_STREAM,
    DBK_PARAMETER_CATEGORY,
    DBK_PARAMETER_VERSION,
    DBK_PARAMETER_POSITION,
    DBK_PARAMETER_TIME,
    DBK_PARAMETER_OCCURRED,
    DBK_PARAMETER_ID,
    DBK_PARAMETER_TYPE,
    DBK_PARAMETER_WHOLE_DATA,
    DBK_PARAMETER_META,
    DBK_PARAMETER_STATE,   /* of a stream that the handler names (model/with.h) */
    DBK_PARAMETER_UNKNOWN, /* begins with '_' and is none of these */
};
enum dbk_parameter_kind dbk_parameter_kind(struct dbk_slice name);

/* The place in a statement as it was written that an offset in its rewritten text stands for. */
size_t dbk_poster_offset(struct dbk_slice written, struct dbk_slice rewritten, size_t offset);

/*
 * Prepares all handlers on a connection that is kept until free; tables must exist under the
 * generation's names. fault_out (may be NULL): the handler that does not prepare, and the offset in
 * its sql.
 */
struct dbk_poster_fault {
    const struct dbk_handler *handler;
    size_t offset;
};
int dbk_poster_open(struct dbk_connection *connection,
                    const struct dbk_model_definition *definition,
                    const struct dbk_sql_rename *renames, size_t rename_count,
                    struct dbk_poster **poster_out, struct dbk_poster_fault *fault_out,
                    struct dbk_error *err) DBK_MUST_CHECK;
void dbk_poster_free(struct dbk_poster *poster);
/*
 * Whose lens upcasts events before they are handled, and whose folds give states (NULL: no handler
 * asks for one); kept until free. Without it nothing is upcast, and no state is there.
 * occurred_us  states leave out what occurred later; 0: nothing
 */
int dbk_poster_read_by(struct dbk_poster *poster, struct dbk_store *store, struct dbk_folds *folds,
                       int64_t occurred_us, struct dbk_error *err) DBK_MUST_CHECK;
/* NULL: no handler takes a state. */
struct dbk_states *dbk_poster_states(const struct dbk_poster *poster);

/* Waits for each statement's end, where a server would be sent the next ones meanwhile: a failure
   is then reported by the event that it belongs to. */
void dbk_poster_set_careful(struct dbk_poster *poster, bool careful);

/*
 * Runs the handler of an event, which comes as it was written: there may be one for its version,
 * and the plain one gets it upcast. The message names event and statement.
 * 1: there is one; 0: it is of another category, or its type has none
 * DBK_EREFUSED a constraint; DBK_ESCRIPT any other failure of the handler; DBK_EFULL, DBK_EBUSY,
 * DBK_EIO, DBK_ENOMEM, DBK_ETIMEOUT
 */
int dbk_poster_post(struct dbk_poster *poster, const struct dbk_event *event,
                    struct dbk_error *err) DBK_MUST_CHECK;

/* "file:line" of the statement that failed last, or nothing. */
void dbk_poster_place(const struct dbk_poster *poster, char *text_out, size_t size);

#endif
