/* SPDX-License-Identifier: Apache-2.0 */
#include "log/ahead.h"

#include "base/memory.h"
#include "log/path.h"

/* A file is made in so many steps, of no less than a page. */
#define STEPS 64
#define STEP_MIN ((uint64_t)4096)
#define ZEROS_SIZE ((size_t)64 << 10)

int dbk_ahead_init(struct dbk_ahead *ahead, struct dbk_os *os, const char *folder, uint64_t size,
                   struct dbk_error *err)
{
    char *path = dbk_path_join(folder, DBK_AHEAD_NAME);
    if (path == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "%s: %s", folder, dbk_code_text(DBK_ENOMEM));
    ahead->os = os;
    ahead->path = path;
    ahead->size = size;
    ahead->step = size / STEPS < STEP_MIN ? STEP_MIN : size / STEPS;
    ahead->file = DBK_FILE_CLOSED;
    (void)pthread_mutex_init(&ahead->lock, NULL);
    (void)pthread_cond_init(&ahead->due, NULL);
    return DBK_OK;
}

/* Under the lock, while no step has the file. */
static void discard(struct dbk_ahead *ahead)
{
    ahead->filled = 0;
    if (ahead->file.fd < 0)
        return;
    ahead->os->close(ahead->os, &ahead->file);
    dbk_ignore(ahead->os->remove(ahead->os, ahead->path, NULL));
}

void dbk_ahead_release(struct dbk_ahead *ahead)
{
    if (ahead->path == NULL)
        return;
    (void)pthread_mutex_lock(&ahead->lock);
    ahead->ends = true;
    (void)pthread_cond_signal(&ahead->due);
    (void)pthread_mutex_unlock(&ahead->lock);
    if (ahead->thread_runs)
        (void)pthread_join(ahead->thread, NULL);
    discard(ahead);
    (void)pthread_cond_destroy(&ahead->due);
    (void)pthread_mutex_destroy(&ahead->lock);
    dbk_free(ahead->path);
    *ahead = (struct dbk_ahead){0};
}

/* Under the lock. */
static bool is_due(const struct dbk_ahead *ahead)
{
    uint64_t wanted = atomic_load(&ahead->wanted);
    return !ahead->given_up && ahead->filled < ahead->size && ahead->filled < wanted;
}

/* Zeros up to a place, durably. */
static int fill(struct dbk_ahead *ahead, struct dbk_file *file, uint64_t from, uint64_t to)
{
    static const char zeros[ZEROS_SIZE];
    struct dbk_os *os = ahead->os;
    int rc = DBK_OK;
    if (from == 0) {
        rc = os->open(os, ahead->path, DBK_OS_WRITE | DBK_OS_CREATE, file, NULL);
        if (rc == DBK_OK)
            rc = os->truncate(os, file, 0, NULL);
    }
    while (rc == DBK_OK && from < to) {
        size_t size = to - from < sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);
        rc = os->pwrite(os, file, dbk_slice(zeros, size), from, NULL);
        from += size;
    }
    return rc < 0 ? rc : os->sync(os, file, NULL);
}

bool dbk_ahead_step(struct dbk_ahead *ahead)
{
    (void)pthread_mutex_lock(&ahead->lock);
    bool due = is_due(ahead);
    uint64_t from = ahead->filled;
    uint64_t left = ahead->size - from;
    uint64_t to = from + (left < ahead->step ? left : ahead->step);
    struct dbk_file file = ahead->file;
    ahead->busy = due;
    (void)pthread_mutex_unlock(&ahead->lock);
    if (!due)
        return false;
    int rc = fill(ahead, &file, from, to);
    (void)pthread_mutex_lock(&ahead->lock);
    ahead->busy = false;
    ahead->file = file;
    ahead->filled = to;
    ahead->given_up = ahead->given_up || rc < 0;
    if (ahead->given_up)
        discard(ahead);
    (void)pthread_mutex_unlock(&ahead->lock);
    return true;
}

static void *run_thread(void *context)
{
    struct dbk_ahead *ahead = context;
    for (;;) {
        (void)pthread_mutex_lock(&ahead->lock);
        while (!ahead->ends && !is_due(ahead))
            (void)pthread_cond_wait(&ahead->due, &ahead->lock);
        bool ends = ahead->ends;
        (void)pthread_mutex_unlock(&ahead->lock);
        if (ends)
            return NULL;
        (void)dbk_ahead_step(ahead);
    }
}

void dbk_ahead_want(struct dbk_ahead *ahead, uint64_t size, bool threaded)
{
    if (size <= atomic_load(&ahead->wanted))
        return;
    /* So that it is asked once a step. */
    atomic_store(&ahead->wanted, size + ahead->step);
    if (!threaded)
        return;
    (void)pthread_mutex_lock(&ahead->lock);
    if (!ahead->thread_runs)
        ahead->thread_runs = pthread_create(&ahead->thread, NULL, run_thread, ahead) == 0;
    (void)pthread_cond_signal(&ahead->due);
    (void)pthread_mutex_unlock(&ahead->lock);
}

bool dbk_ahead_take(struct dbk_ahead *ahead, struct dbk_file *file_out)
{
    (void)pthread_mutex_lock(&ahead->lock);
    bool ready = !ahead->busy && ahead->file.fd >= 0 && ahead->filled == ahead->size;
    if (ready) {
        *file_out = ahead->file;
        ahead->file = DBK_FILE_CLOSED;
        ahead->filled = 0;
    }
    ahead->given_up = false;
    atomic_store(&ahead->wanted, 0);
    (void)pthread_mutex_unlock(&ahead->lock);
    return ready;
}

void dbk_ahead_give_back(struct dbk_ahead *ahead)
{
    (void)pthread_mutex_lock(&ahead->lock);
    ahead->given_up = true;
    if (!ahead->busy)
        discard(ahead);
    (void)pthread_mutex_unlock(&ahead->lock);
}
