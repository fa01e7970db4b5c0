/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_watch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* A reader finds an order at most so much late, and as long as its question takes. */
#define LOOK_NS 100000
#define AWAIT_NS (INT64_C(120) * 1000000000)

struct watch {
    struct dbk_bench_place *place;
    uint64_t first; /* order */
    uint64_t count;
    int64_t *committed_ns;
    int64_t *found_ns;
    _Atomic bool stop;
    int rc;
    struct dbk_error err;
};

static void *watch_target(void *context)
{
    struct watch *watch = context;
    uint64_t found = 0; /* of the orders watched */
    while (watch->rc == DBK_OK && found < watch->count && !watch->stop) {
        uint64_t last = 0;
        watch->rc = dbk_bench_find_last(watch->place, &last, &watch->err);
        int64_t now_ns = dbk_bench_now_ns();
        while (watch->rc == DBK_OK && found < watch->count && watch->first + found <= last)
            watch->found_ns[found++] = now_ns;
        (void)nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return NULL;
}

static void sleep_until(int64_t until_ns)
{
    const struct timespec until = {.tv_sec = until_ns / 1000000000,
                                   .tv_nsec = until_ns % 1000000000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static int write_paced(struct watch *watch, uint64_t rate, struct dbk_error *err)
{
    int64_t begun_ns = dbk_bench_now_ns();
    int rc = DBK_OK;
    for (uint64_t i = 0; rc == DBK_OK && i < watch->count; i++) {
        sleep_until(begun_ns + (int64_t)(i * 1000000000 / rate));
        rc = dbk_bench_commit(watch->place, 1, err);
        watch->committed_ns[i] = dbk_bench_now_ns();
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
    }
    return rc;
}

/* Waits for the reader, which may find no more. */
static int end_watch(struct watch *watch, pthread_t thread, int rc, struct dbk_error *err)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += AWAIT_NS / 1000000000;
    if (rc < 0 || pthread_timedjoin_np(thread, NULL, &end) != 0) {
        watch->stop = true;
        (void)pthread_join(thread, NULL);
    }
    if (rc == DBK_OK && watch->rc < 0) {
        *err = watch->err;
        return watch->rc;
    }
    if (rc == DBK_OK && watch->found_ns[watch->count - 1] == 0)
        return dbk_error_set(err, DBK_ETIMEOUT, "%s: a reader has not found all in two minutes",
                             watch->place->route->name);
    return rc;
}

int dbk_bench_watch(struct dbk_bench_place *place, uint64_t rate, uint64_t count,
                    struct dbk_histogram *stale_ns, struct dbk_error *err)
{
    pthread_t thread;
    struct watch watch = {.place = place, .first = place->last + 1, .count = count};
    watch.committed_ns = dbk_alloc_zero(watch.count, sizeof(*watch.committed_ns));
    watch.found_ns = dbk_alloc_zero(watch.count, sizeof(*watch.found_ns));
    int rc = watch.committed_ns == NULL || watch.found_ns == NULL
                 ? dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM))
                 : DBK_OK;
    if (rc == DBK_OK) {
        int code = pthread_create(&thread, NULL, watch_target, &watch);
        rc = code != 0 ? dbk_error_set_errno(err, code, "starting a reader") : DBK_OK;
    }
    if (rc == DBK_OK) {
        rc = write_paced(&watch, rate, err);
        rc = end_watch(&watch, thread, rc, err);
    }
    /* What is there before the writer has its answer is not late. */
    for (uint64_t i = 0; rc == DBK_OK && i < watch.count; i++) {
        int64_t late_ns = watch.found_ns[i] - watch.committed_ns[i];
        dbk_histogram_add(stale_ns, late_ns > 0 ? (uint64_t)late_ns : 0);
    }
    dbk_free(watch.committed_ns);
    dbk_free(watch.found_ns);
    return rc;
}

int dbk_bench_write_many(struct dbk_bench_place *place, uint64_t rows, uint64_t batch,
                         double *seconds_out, struct dbk_error *err)
{
    int64_t begun_ns = dbk_bench_now_ns();
    int rc = DBK_OK;
    for (uint64_t done = 0; rc == DBK_OK && done < rows; done += batch) {
        uint64_t left = rows - done;
        rc = dbk_bench_commit(place, left < batch ? left : batch, err);
        if (rc == DBK_OK)
            rc = dbk_bench_stopped(err);
    }
    if (rc == DBK_OK)
        rc = dbk_bench_await(place, place->last, err);
    *seconds_out = (double)(dbk_bench_now_ns() - begun_ns) / 1e9;
    return rc;
}
