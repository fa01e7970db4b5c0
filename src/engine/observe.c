/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks now and then at the PostgreSQLs of services, so that it is known when a statement was last
 * done: the servers count, and have no times. What cannot be looked at is left for the next time;
 * `daybook impact --observed` looks by itself, and says why it can't.
 */
#include "engine/state.h"
#include "service/observed.h"

#define PERIOD_S 60
#define MEMORY_MAX ((size_t)1 << 30)

static void look(const struct dbk_engine *engine, const struct dbk_book_database *database)
{
    struct dbk_arena arena;
    struct dbk_connection *connection = NULL;
    dbk_arena_init(&arena, MEMORY_MAX);
    struct dbk_observed observed = {.arena = &arena};
    const char *path = dbk_observed_path(&arena, engine->book->data, database->name);
    int rc = path == NULL ? DBK_ENOMEM : dbk_observed_read(&observed, engine->os, path, NULL);
    if (rc == DBK_OK)
        rc = dbk_connection_open(database->path, DBK_CONNECT_READ, &connection, NULL);
    if (rc == DBK_OK)
        rc = dbk_observed_look(&observed, connection, engine->os->now_us(engine->os), NULL);
    if (rc == DBK_OK)
        dbk_ignore(dbk_observed_write(&observed, engine->os, path, NULL));
    dbk_connection_free(connection);
    dbk_arena_release(&arena);
}

static bool is_watched(const struct dbk_book *book, const struct dbk_book_database *database)
{
    return dbk_target_dialect(database->path) == DBK_DIALECT_POSTGRES &&
           dbk_service_share(book->service_definitions, book->service_count, database->name) > 0;
}

static void *run(void *context)
{
    struct dbk_engine *engine = context;
    const struct dbk_book *book = engine->book;
    (void)pthread_mutex_lock(&engine->observer_lock);
    while (!engine->observer_ends) {
        struct timespec until;
        (void)pthread_mutex_unlock(&engine->observer_lock);
        for (size_t i = 0; i < book->database_count; i++) {
            if (is_watched(book, &book->databases[i]))
                look(engine, &book->databases[i]);
        }
        (void)pthread_mutex_lock(&engine->observer_lock);
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PERIOD_S;
        if (!engine->observer_ends)
            (void)pthread_cond_timedwait(&engine->observer_woken, &engine->observer_lock, &until);
    }
    (void)pthread_mutex_unlock(&engine->observer_lock);
    return NULL;
}

int dbk_observer_start(struct dbk_engine *engine, struct dbk_error *err)
{
    bool any = false;
    for (size_t i = 0; i < engine->book->database_count; i++)
        any = any || is_watched(engine->book, &engine->book->databases[i]);
    if (!any)
        return DBK_OK;
    (void)pthread_mutex_init(&engine->observer_lock, NULL);
    (void)pthread_cond_init(&engine->observer_woken, NULL);
    int failure = pthread_create(&engine->observer, NULL, run, engine);
    if (failure != 0)
        return dbk_error_set_errno(err, failure, "cannot start the thread that looks at databases");
    engine->observer_runs = true;
    return DBK_OK;
}

void dbk_observer_stop(struct dbk_engine *engine)
{
    if (!engine->observer_runs)
        return;
    (void)pthread_mutex_lock(&engine->observer_lock);
    engine->observer_ends = true;
    (void)pthread_cond_signal(&engine->observer_woken);
    (void)pthread_mutex_unlock(&engine->observer_lock);
    (void)pthread_join(engine->observer, NULL);
    (void)pthread_cond_destroy(&engine->observer_woken);
    (void)pthread_mutex_destroy(&engine->observer_lock);
    engine->observer_runs = false;
}
