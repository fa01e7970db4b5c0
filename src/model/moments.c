/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "base/time.h"
#include "model/state.h"

static bool handles(const struct dbk_model_definition *definition, const struct dbk_event *event)
{
    uint16_t version = event->schema_version == 0 ? 1 : event->schema_version;
    struct dbk_slice category = dbk_stream_category(event->stream);
    bool follows = false;
    for (size_t i = 0; i < definition->category_count; i++)
        follows = follows || dbk_slice_equal(definition->categories[i], category);
    for (size_t i = 0; follows && i < definition->handler_count; i++) {
        const struct dbk_handler *handler = &definition->handlers[i];
        if (dbk_slice_equal(handler->type, event->type) &&
            (handler->version == 0 || handler->version == version))
            return true;
    }
    return false;
}

void dbk_models_seen(struct dbk_models *models, size_t index, uint64_t position)
{
    struct dbk_model *model = models->items[index];
    (void)pthread_mutex_lock(&models->lock);
    uint64_t passed = dbk_trail_position(&model->seen);
    /* Who read before this process began is not known. */
    if (passed < model->position_begun)
        passed = model->position_begun;
    if (model->writer && position > passed) {
        int64_t now_us = dbk_model_now_us();
        dbk_trail_note(&model->seen, &(struct dbk_trail_step){.position_min = passed + 1,
                                                              .position_max = position,
                                                              .begun_us = now_us,
                                                              .done_us = now_us});
    }
    (void)pthread_mutex_unlock(&models->lock);
}

static void put_before(const struct dbk_model *model, char why[256])
{
    char since[DBK_TIME_TEXT_SIZE];
    (void)dbk_time_format(model->models->since_us, since);
    (void)snprintf(why, 256, "before this process began, at %s", since);
}

/* Of what has been applied. */
static void say_why(const struct dbk_model *model, enum dbk_trail_answer answer, uint64_t position,
                    char why[256])
{
    if (position <= model->position_begun)
        put_before(model, why);
    else if (answer == DBK_TRAIL_FORGOTTEN)
        (void)snprintf(why, 256, "forgotten: the last %d batches are remembered", DBK_TRAIL_STEPS);
    else
        (void)snprintf(why, 256,
                       "not known: a rebuild, or a database that was asked again after a lost "
                       "connection, went past it");
}

static void look_applied(const struct dbk_model *model, uint64_t position,
                         struct dbk_model_moments *moments)
{
    struct dbk_trail_step step;
    enum dbk_trail_answer answer = dbk_trail_find(&model->applied, position, &step);
    moments->applied = model->position >= position;
    if (moments->applied && answer == DBK_TRAIL_FOUND) {
        moments->received_us = step.begun_us;
        moments->applied_us = step.done_us;
    } else if (moments->applied) {
        say_why(model, answer, position, moments->applied_why);
    } else if (model->stopped) {
        (void)snprintf(moments->applied_why, sizeof(moments->applied_why),
                       "not yet: it has stopped at position %" PRIu64 "; `model ls` says why",
                       model->position);
    } else {
        (void)snprintf(moments->applied_why, sizeof(moments->applied_why),
                       "not yet: it is at position %" PRIu64, model->position);
    }
}

static void look_seen(const struct dbk_model *model, uint64_t position,
                      struct dbk_model_moments *moments)
{
    struct dbk_trail_step step;
    enum dbk_trail_answer answer = dbk_trail_find(&model->seen, position, &step);
    if (position <= model->position_begun)
        put_before(model, moments->seen_why);
    else if (answer == DBK_TRAIL_FOUND)
        moments->seen_us = step.done_us;
    else if (answer == DBK_TRAIL_AHEAD)
        (void)snprintf(moments->seen_why, sizeof(moments->seen_why),
                       "not yet: no read has been answered past it");
    else
        say_why(model, answer, position, moments->seen_why);
}

int dbk_models_moments(struct dbk_models *models, size_t index, const struct dbk_event *event,
                       struct dbk_model_moments *moments_out)
{
    struct dbk_model *model = models->items[index];
    *moments_out = (struct dbk_model_moments){.model = model->definition.name,
                                              .received_us = DBK_TIME_NONE,
                                              .applied_us = DBK_TIME_NONE,
                                              .seen_us = DBK_TIME_NONE};
    (void)pthread_mutex_lock(&models->lock);
    bool served = model->writer && model->serving.number != 0;
    bool handled = handles(served ? &model->serving.definition : &model->definition, event);
    if (handled && model->writer) {
        look_applied(model, event->position, moments_out);
        look_seen(model, event->position, moments_out);
    }
    (void)pthread_mutex_unlock(&models->lock);
    if (handled && !model->writer) {
        (void)snprintf(moments_out->applied_why, sizeof(moments_out->applied_why),
                       "the process that holds the book knows it: ask that");
        (void)snprintf(moments_out->seen_why, sizeof(moments_out->seen_why), "%s",
                       moments_out->applied_why);
    }
    return handled ? 1 : 0;
}
