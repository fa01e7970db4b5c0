/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifications, asked for and by schedule.
 *
 * Those by schedule have a thread of their own, which no refresh waits for: one at a time, and
 * after each a rest of nine times what it took. At shutdown the one under way is interrupted; it
 * is made up for when the book is next served.
 */
#include "view/state.h"

/* How often a view is refreshed and compared when its sources keep changing. */
#define VERIFY_TRIES 5
#define REST_FACTOR 9
/* How long the thread sleeps at most, so that a clock that was set is noticed. */
#define SLEEP_US_MAX INT64_C(30000000)
/* When one that came to no end is begun again. */
#define AGAIN_US (INT64_C(60) * 1000000)
/* How often a statement that is to end is told so: it may not have begun yet. */
#define INTERRUPT_US INT64_C(10000)

static bool is_scheduled(const struct dbk_view *view)
{
    return view->definition.verify.kind != DBK_SCHEDULE_ON_DEMAND;
}

static bool stops(struct dbk_views *views)
{
    (void)pthread_mutex_lock(&views->mutex);
    bool stopping = views->stopping;
    (void)pthread_mutex_unlock(&views->mutex);
    return stopping;
}

static void take_connection(void *context, struct dbk_connection *connection)
{
    struct dbk_views *views = context;
    (void)pthread_mutex_lock(&views->mutex);
    views->verifying = connection;
    (void)pthread_cond_broadcast(&views->changed);
    (void)pthread_mutex_unlock(&views->mutex);
}

/* With the mutex. */
void dbk_views_end_verifying(struct dbk_views *views)
{
    while (views->verifying != NULL) {
        dbk_connection_interrupt(views->verifying);
        dbk_views_sleep(views, INTERRUPT_US);
    }
}

/* While no refresh of the view runs: a server refuses two who change its row at once. */
static int keep(struct dbk_views *views, struct dbk_view *view, const struct dbk_view_check *check,
                const struct dbk_error *difference, struct dbk_error *err)
{
    dbk_view_claim(views, view);
    int rc = DBK_OK;
    if (difference->code == DBK_ECORRUPT)
        rc = view->home->distrust(&view->definition, difference, err);
    if (rc == DBK_OK)
        rc = view->home->keep_check(&view->definition, check, err);
    dbk_view_unclaim(views, view);
    return rc;
}

static int verify(struct dbk_views *views, struct dbk_view *view, bool scheduled,
                  struct dbk_view_check *check_out, struct dbk_error *err)
{
    const char *name = view->definition.name;
    struct dbk_error failure = {0};
    int rc = dbk_view_settle_form(views, view, err);
    if (rc < 0)
        return rc;
    for (int i = 0; i < VERIFY_TRIES; i++) {
        struct dbk_view_refresh refresh = dbk_view_describe(views, view);
        refresh.connected = scheduled ? take_connection : NULL;
        refresh.context = views;
        failure = (struct dbk_error){0};
        rc = view->home->verify(&refresh, check_out, &failure);
        if ((rc != DBK_EBUSY && rc != DBK_ENOTFOUND) || (scheduled && stops(views)))
            break;
        int refreshed = dbk_views_refresh(views, name, 0, NULL, NULL, err);
        if (refreshed < 0)
            return refreshed;
    }
    check_out->at_us = views->os->now_us(views->os);
    if (rc == DBK_OK || rc == DBK_ECORRUPT) {
        int kept = keep(views, view, check_out, &failure, err);
        if (kept < 0)
            return kept;
    }
    return rc < 0 ? dbk_error_set(err, rc, "view %s: %s", name, failure.message) : rc;
}

int dbk_views_verify(struct dbk_views *views, const char *name, struct dbk_view_check *check_out,
                     struct dbk_error *err)
{
    size_t index = 0;
    int rc = dbk_views_find(views, name, &index, err);
    return rc < 0 ? rc : verify(views, &views->views[index], false, check_out, err);
}

/* ---- By schedule ---- */

/* When a view is due for the first time: after the last verification there was, or where there was
   none, one every day at its time, and others now. */
static void look(struct dbk_views *views, struct dbk_view *view)
{
    const struct dbk_schedule *schedule = &view->definition.verify;
    int64_t now_us = views->os->now_us(views->os);
    struct dbk_error failure = {0};
    struct dbk_view_row row;
    int rc = dbk_views_row(views, view, &row, &failure);
    int64_t last_us = rc < 0 ? DBK_TIME_NONE : row.check.at_us;
    if (last_us == DBK_TIME_NONE && schedule->kind == DBK_SCHEDULE_DAILY)
        last_us = now_us;
    (void)pthread_mutex_lock(&views->mutex);
    view->verify_known = rc == DBK_OK;
    view->verify_us = rc == DBK_OK ? dbk_schedule_next(schedule, last_us) : now_us + AGAIN_US;
    view->unchecked = failure;
    (void)pthread_mutex_unlock(&views->mutex);
}

/* What differs is mended where its head says so, and compared once more. */
static int verify_and_mend(struct dbk_views *views, struct dbk_view *view, struct dbk_error *err)
{
    struct dbk_view_check check = {0};
    struct dbk_error difference = {0};
    int rc = verify(views, view, true, &check, &difference);
    if (rc == DBK_ECORRUPT && !view->definition.verify_mends)
        return DBK_OK;
    if (rc != DBK_ECORRUPT)
        return rc < 0 ? dbk_error_set(err, rc, "%s", difference.message) : DBK_OK;
    rc = dbk_views_refresh(views, view->definition.name, 0, NULL, NULL, err);
    if (rc < 0 || stops(views))
        return rc;
    (void)pthread_mutex_lock(&views->mutex);
    view->mended++;
    (void)pthread_mutex_unlock(&views->mutex);
    rc = verify(views, view, true, &check, &difference);
    return rc < 0 && rc != DBK_ECORRUPT ? dbk_error_set(err, rc, "%s", difference.message) : DBK_OK;
}

static void run(struct dbk_views *views, struct dbk_view *view)
{
    struct dbk_error failure = {0};
    int64_t begun_us = views->os->monotonic_us(views->os);
    int rc = verify_and_mend(views, view, &failure);
    int64_t ended_us = views->os->monotonic_us(views->os);
    int64_t now_us = views->os->now_us(views->os);
    int64_t next_us = dbk_schedule_next(&view->definition.verify, now_us);
    (void)pthread_mutex_lock(&views->mutex);
    view->verify_us = rc < 0 && next_us > now_us + AGAIN_US ? now_us + AGAIN_US : next_us;
    view->unchecked = failure;
    views->verify_rest_us = ended_us + REST_FACTOR * (ended_us - begun_us);
    (void)pthread_mutex_unlock(&views->mutex);
}

/* With the mutex: the view that has been due the longest; one that failed, or stands on one that
   did, waits until it has been refreshed. */
static struct dbk_view *find_due(struct dbk_views *views, int64_t *sleep_us_out)
{
    int64_t now_us = views->os->now_us(views->os);
    struct dbk_view *found = NULL;
    for (size_t i = 0; i < views->count; i++) {
        struct dbk_view *view = &views->views[i];
        if (!is_scheduled(view) || (view->verify_known && view->failed) ||
            dbk_view_blocker(views, view) != NULL)
            continue;
        if (found == NULL || view->verify_us < found->verify_us)
            found = view;
    }
    int64_t rest_us = views->verify_rest_us - views->os->monotonic_us(views->os);
    int64_t wait_us = found == NULL                ? SLEEP_US_MAX
                      : found->verify_us <= now_us ? 0
                                                   : found->verify_us - now_us;
    wait_us = wait_us < rest_us ? rest_us : wait_us;
    *sleep_us_out = wait_us < SLEEP_US_MAX ? wait_us : SLEEP_US_MAX;
    return wait_us > 0 ? NULL : found;
}

static void *verify_by_schedule(void *context)
{
    struct dbk_views *views = context;
    (void)pthread_mutex_lock(&views->mutex);
    while (!views->stopping) {
        int64_t sleep_us = 0;
        struct dbk_view *view = find_due(views, &sleep_us);
        if (view == NULL) {
            dbk_views_sleep(views, sleep_us);
            continue;
        }
        bool known = view->verify_known;
        (void)pthread_mutex_unlock(&views->mutex);
        if (known)
            run(views, view);
        else
            look(views, view);
        (void)pthread_mutex_lock(&views->mutex);
    }
    (void)pthread_mutex_unlock(&views->mutex);
    return NULL;
}

void *(*dbk_views_verifier(const struct dbk_views *views))(void *)
{
    bool any = false;
    for (size_t i = 0; i < views->count && !any; i++)
        any = is_scheduled(&views->views[i]);
    return any ? verify_by_schedule : NULL;
}
