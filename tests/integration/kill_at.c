/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill_at -- preloaded, it ends the process by SIGKILL before the n-th call that changes a file.
 *
 * n is KILL_AT in the environment, from 1; 0 or none: never. With KILL_COUNT, a path, the number of
 * calls is written there when the process ends well.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static void step(void)
{
    const char *at = getenv("KILL_AT");
    long now = atomic_fetch_add(&calls, 1) + 1;
    if (at != NULL && strtol(at, NULL, 10) == now)
        (void)kill(getpid(), SIGKILL);
}

__attribute__((destructor)) static void note(void)
{
    const char *path = getenv("KILL_COUNT");
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    if (file == NULL)
        return;
    (void)fprintf(file, "%ld\n", atomic_load(&calls));
    (void)fclose(file);
}

#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

int fsync(int fd)
{
    step();
    return NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
    step();
    return NEXT(fdatasync)(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset)
{
    step();
    return NEXT(pwrite64)(fd, bytes, size, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    step();
    return NEXT(pwrite)(fd, bytes, size, offset);
}

int ftruncate64(int fd, off64_t size)
{
    step();
    return NEXT(ftruncate64)(fd, size);
}

int ftruncate(int fd, off_t size)
{
    step();
    return NEXT(ftruncate)(fd, size);
}

int rename(const char *from, const char *to)
{
    step();
    return NEXT(rename)(from, to);
}

int unlink(const char *path)
{
    step();
    return NEXT(unlink)(path);
}
