/* SPDX-License-Identifier: Apache-2.0 */
/*
 * with -- streams whose folded state a handler takes as parameters.
 *
 *     -- with: product = product-{product_id}
 *     INSERT INTO lines VALUES (:order_id, :product.title);
 *
 * Comment lines at a handler's head (`//` in Cypher and in MongoDB's commands). What stands before
 * the first '-' of the stream's name is written out, so that the fold is known; `{a.b}` is a member
 * of the event's data, a text or a whole number; the stream `{_stream}` is the event's own.
 *
 * The state is the fold's of the stream's events up to the event's position, the event itself
 * among them, whenever the handler runs: so it is the same in every replay. Parameters of a stream
 * that has no events up to there are NULL.
 *
 * Threads: one at a time.
 */
#ifndef DBK_MODEL_WITH_H
#define DBK_MODEL_WITH_H

#include "model/model.h"
#include "model/states.h"

#define DBK_WITHS_MAX 8
#define DBK_WITH_PATH_MAX 16

struct dbk_with_part {
    struct dbk_slice text;                    /* literal */
    struct dbk_slice path[DBK_WITH_PATH_MAX]; /* or of the event's data */
    size_t path_count;                        /* 0: it is literal */
};

struct dbk_with {
    struct dbk_slice name;
    struct dbk_slice category; /* empty: of the event's own stream */
    struct dbk_with_part *parts;
    size_t part_count;
    struct dbk_slice stream; /* as it is written, for messages */
};

struct dbk_withs {
    struct dbk_with items[DBK_WITHS_MAX];
    size_t count;
    /* Of the event that was looked at last. */
    struct dbk_json *json[DBK_WITHS_MAX];
    const struct dbk_json_node *states[DBK_WITHS_MAX]; /* NULL: there is none */
};

/*
 * Reads a handler's head; what it needs lies in the arena, and slices in the text.
 * offset_out, fix_out  of a fault
 * DBK_EINVAL           the message says what is wrong
 */
int dbk_withs_read(struct dbk_withs *withs, struct dbk_slice text, enum dbk_dialect dialect,
                   struct dbk_arena *arena, size_t *offset_out, const char **fix_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
void dbk_withs_release(struct dbk_withs *withs);

/* The one whose name is a parameter's first part; its index, or `count`. */
size_t dbk_withs_find(const struct dbk_withs *withs, struct dbk_slice parameter);

/* The categories of the streams that a model's handlers take, each once, in the arena: of those
   that are an event's own, the model's sources. Faulty lines are left out. DBK_ENOMEM only. */
int dbk_withs_categories(const struct dbk_model_definition *definition, struct dbk_arena *arena,
                         struct dbk_slice **categories_out, size_t *count_out) DBK_MUST_CHECK;

/* Finds the states for an event; root: its data, NULL when it is no JSON; as dbk_fold_walk_to. */
int dbk_withs_look(struct dbk_withs *withs, struct dbk_states *states,
                   const struct dbk_event *event, const struct dbk_json_node *root,
                   struct dbk_error *err) DBK_MUST_CHECK;

#endif
