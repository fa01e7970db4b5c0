/* SPDX-License-Identifier: Apache-2.0 */
/* Services whose tables are captured. */
#include "engine/state.h"

static int append(void *context, const struct dbk_batch *batch,
                  struct dbk_append_result *result_out, struct dbk_error *err)
{
    return dbk_engine_append_own_json(context, batch, result_out, err);
}

static bool has_kind(const struct dbk_capture_service *service, enum dbk_capture_kind kind)
{
    if (kind == DBK_CAPTURE_OUTBOX)
        return service->outbox.table != NULL;
    for (size_t i = 0; i < service->table_count; i++) {
        if (service->tables[i].kind == kind)
            return true;
    }
    return false;
}

int dbk_engine_open_captures(struct dbk_engine *engine, struct dbk_error *err)
{
    const struct dbk_book *book = engine->book;
    const char *folder = dbk_arena_format(&engine->arena, "%s/capture", book->data);
    if (folder == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory opening %s", book->folder);
    int rc =
        dbk_captures_open(&(struct dbk_captures_options){.os = engine->os,
                                                         .store = engine->store,
                                                         .append = append,
                                                         .context = engine,
                                                         .writer = engine->writer,
                                                         .folder = folder,
                                                         .batch_count_max = book->batch_count_max,
                                                         .event_size_max = book->event_size_max},
                          &engine->captures, err);
    for (size_t i = 0; rc == DBK_OK && i < book->service_count; i++) {
        static const enum dbk_capture_kind kinds[] = {DBK_CAPTURE_CDC, DBK_CAPTURE_POLLING,
                                                      DBK_CAPTURE_OUTBOX};
        for (size_t j = 0; rc == DBK_OK && j < sizeof(kinds) / sizeof(kinds[0]); j++) {
            if (has_kind(&book->services[i], kinds[j]))
                rc = dbk_captures_add(engine->captures, &book->services[i], kinds[j], err);
        }
    }
    return rc;
}

int dbk_engine_check_captured(const struct dbk_engine *engine, size_t index,
                              const struct dbk_new_event *event, struct dbk_error *err)
{
    struct dbk_slice category = dbk_stream_category(event->stream);
    const char *dot = category.size == 0 ? NULL : memchr(category.data, '.', category.size);
    if (dot == NULL)
        return DBK_OK;
    size_t size = (size_t)(dot - category.data);
    const struct dbk_capture_service *service =
        dbk_book_service(engine->book, dbk_slice(category.data, size));
    const struct dbk_capture_table *table =
        service == NULL ? NULL
                        : dbk_capture_table(service, dbk_slice(dot + 1, category.size - size - 1));
    if (table == NULL || table->kind == DBK_CAPTURE_NONE)
        return DBK_OK;
    return dbk_error_set(err, DBK_EDENIED,
                         "event %zu: the category %.*s is captured from the database `%s`: change "
                         "the row there",
                         index, DBK_SLICE_ARGS(category), service->database);
}
