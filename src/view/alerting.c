/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads of alerts, one each: they judge what refreshes change, and tell of it.
 *
 *     judge some --> send one --(more of either)--> again
 *                        |
 *                        +--(nothing is due)--> wait for a refresh, or for the next try
 */
#include <time.h>

#include "json/json.h"
#include "target/http.h"
#include "view/alert.h"
#include "view/state.h"

/* The longest an alert sleeps: what else changes the database is seen then. */
#define LOOK_US INT64_C(1000000)
/* How long it waits when the database fails. */
#define TROUBLE_US INT64_C(5000000)
#define ROW_SIZE_MAX ((size_t)64 << 20)

/* With the mutex: until a refresh of the view has ended behind `runs`, or so long. */
static void sleep_us(const struct dbk_alert *alert, uint64_t runs, int64_t duration_us)
{
    struct dbk_views *views = alert->views;
    struct timespec until;
    int waited = 0;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t nanoseconds = until.tv_nsec + duration_us % 1000000 * 1000;
    until.tv_sec += duration_us / 1000000 + nanoseconds / 1000000000;
    until.tv_nsec = nanoseconds % 1000000000;
    while (waited == 0 && alert->view->runs == runs && !views->stopping)
        waited = pthread_cond_timedwait(&views->changed, &views->mutex, &until);
}

/* How long there is nothing to do; 0: there is. */
static int64_t work(struct dbk_alert *alert, struct dbk_error *err)
{
    struct dbk_os *os = alert->views->os;
    int64_t next_us = DBK_TIME_NONE;
    int judged = DBK_OK;
    int rc = DBK_OK;
    if (alert->connection == NULL) {
        rc = dbk_connection_open(alert->view->definition.database_path, 0, &alert->connection, err);
        if (rc == DBK_OK)
            rc = dbk_alerts_clean(alert->connection, &alert->view->definition, err);
    }
    if (rc == DBK_OK)
        rc = judged = dbk_alert_judge(alert, err);
    if (rc >= 0)
        rc = dbk_alert_send(alert, &next_us, err);
    if (rc == DBK_ESTOPPED)
        return LOOK_US; /* it is sent by the next start */
    if (rc < 0) {
        dbk_connection_free(alert->connection);
        alert->connection = NULL;
        return TROUBLE_US;
    }
    int64_t left_us = next_us == DBK_TIME_NONE ? LOOK_US : next_us - os->now_us(os);
    left_us = left_us < LOOK_US ? left_us : LOOK_US;
    return rc == 1 || judged == 1 || left_us < 0 ? 0 : left_us;
}

static void *run(void *context)
{
    struct dbk_alert *alert = context;
    struct dbk_views *views = alert->views;
    (void)pthread_mutex_lock(&views->mutex);
    while (!views->stopping) {
        struct dbk_error failure = {0};
        uint64_t runs = alert->view->runs;
        (void)pthread_mutex_unlock(&views->mutex);
        int64_t left_us = work(alert, &failure);
        (void)pthread_mutex_lock(&views->mutex);
        alert->failure = failure.code == DBK_ESTOPPED ? (struct dbk_error){0} : failure;
        if (left_us > 0)
            sleep_us(alert, runs, left_us);
    }
    (void)pthread_mutex_unlock(&views->mutex);
    return NULL;
}

static int start(struct dbk_alert *alert, struct dbk_error *err)
{
    alert->json = dbk_json_create(ROW_SIZE_MAX);
    if (alert->json == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "alert %s: %s", alert->definition->name,
                             dbk_code_text(DBK_ENOMEM));
    int failure = pthread_create(&alert->thread, NULL, run, alert);
    return failure == 0 ? DBK_OK
                        : dbk_error_set_errno(err, failure, "alert %s: its thread does not start",
                                              alert->definition->name);
}

int dbk_alerts_start(struct dbk_views *views, struct dbk_error *err)
{
    size_t count = 0;
    int rc = DBK_OK;
    for (size_t i = 0; i < views->count; i++)
        count += views->views[i].definition.alert_count;
    views->alerts = dbk_alloc_zero(count + 1, sizeof(*views->alerts));
    if (views->alerts == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "alerts: %s", dbk_code_text(DBK_ENOMEM));
    for (size_t i = 0; rc == DBK_OK && i < views->count; i++) {
        struct dbk_view *view = &views->views[i];
        for (size_t j = 0; rc == DBK_OK && j < view->definition.alert_count; j++) {
            struct dbk_alert *alert = &views->alerts[views->alert_count];
            *alert = (struct dbk_alert){
                .views = views, .view = view, .definition = &view->definition.alerts[j]};
            rc = start(alert, err);
            if (rc < 0) {
                dbk_json_free(alert->json);
                break;
            }
            (void)pthread_mutex_lock(&views->mutex);
            views->alert_count++;
            (void)pthread_mutex_unlock(&views->mutex);
        }
    }
    return rc;
}

/* When the views are stopping. */
void dbk_alerts_stop(struct dbk_views *views)
{
    for (size_t i = 0; i < views->alert_count; i++) {
        struct dbk_alert *alert = &views->alerts[i];
        (void)pthread_join(alert->thread, NULL);
        dbk_connection_free(alert->connection);
        dbk_json_free(alert->json);
        dbk_http_session_free(alert->http);
    }
    views->alert_count = 0;
    dbk_free(views->alerts);
    views->alerts = NULL;
}
