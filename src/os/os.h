/* SPDX-License-Identifier: Apache-2.0 */
/*
 * os -- every system call on files, clocks and randomness, behind one table.
 *
 * The engine never calls the system itself: it is handed a struct dbk_os and calls through it. The
 * real one is dbk_os_real(). Its twin os/sim.h keeps files in memory, counts calls, fails any of
 * them, and crashes at any boundary with none, all, a prefix or a torn part of the unsynced writes
 * kept, from a seed.
 *
 * Calls return DBK_OK or a negative code with err filled (file's name, what was being done, the
 * system's own text). EINTR and short reads or writes are dealt with below this table.
 *
 * Threads: a table may be used from any thread; one file from several as pread and pwrite allow.
 * Source:  POSIX.1-2017; fdatasync(2), flock(2), openat(2).
 */
#ifndef DBK_OS_OS_H
#define DBK_OS_OS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

enum dbk_os_open_flags {
    DBK_OS_READ = 0,         /* reading only */
    DBK_OS_WRITE = 1 << 0,   /* reading and writing */
    DBK_OS_CREATE = 1 << 1,  /* create when missing */
    DBK_OS_NEW = 1 << 2,     /* with CREATE: DBK_EEXISTS when it is there */
    DBK_OS_PRIVATE = 1 << 3, /* with CREATE: for its owner alone from the first moment */
};

/* An open file; `fd` means something only to the table that opened it. */
struct dbk_file {
    int fd;
    char name[64]; /* last part of the path, for messages; cut when longer */
};
#define DBK_FILE_CLOSED ((struct dbk_file){.fd = -1})

typedef int (*dbk_os_each_fn)(const char *name, void *context);

struct dbk_os {
    /* DBK_ENOTFOUND, DBK_EEXISTS, DBK_EDENIED, DBK_EFULL, DBK_EIO; file_out only on success. */
    int (*open)(struct dbk_os *os, const char *path, unsigned flags, struct dbk_file *file_out,
                struct dbk_error *err) DBK_MUST_CHECK;
    /* Closes; the file is DBK_FILE_CLOSED afterwards. A closed file is fine. */
    void (*close)(struct dbk_os *os, struct dbk_file *file);
    /* Reads up to size bytes at offset; fewer only at the end of the file. */
    int (*pread)(struct dbk_os *os, const struct dbk_file *file, void *buffer, size_t size,
                 uint64_t offset, size_t *size_out, struct dbk_error *err) DBK_MUST_CHECK;
    /* Writes all bytes; on failure a part of them may have been written. */
    int (*pwrite)(struct dbk_os *os, const struct dbk_file *file, struct dbk_slice bytes,
                  uint64_t offset, struct dbk_error *err) DBK_MUST_CHECK;
    /* fdatasync. After a failure the file's unsynced bytes may be gone for good: do not retry. */
    int (*sync)(struct dbk_os *os, const struct dbk_file *file,
                struct dbk_error *err) DBK_MUST_CHECK;
    int (*size)(struct dbk_os *os, const struct dbk_file *file, uint64_t *size_out,
                struct dbk_error *err) DBK_MUST_CHECK;
    int (*truncate)(struct dbk_os *os, const struct dbk_file *file, uint64_t size,
                    struct dbk_error *err) DBK_MUST_CHECK;
    /* Maps the first size bytes for reading; valid until unmap, also when the file is removed. */
    int (*map)(struct dbk_os *os, const struct dbk_file *file, uint64_t size,
               struct dbk_slice *bytes_out, struct dbk_error *err) DBK_MUST_CHECK;
    void (*unmap)(struct dbk_os *os, struct dbk_slice bytes);
    /* Lets a mapping's memory go. It stays valid: what is read of it again is fetched again. */
    void (*unload)(struct dbk_os *os, struct dbk_slice bytes);
    int (*rename)(struct dbk_os *os, const char *from, const char *to,
                  struct dbk_error *err) DBK_MUST_CHECK;
    /*
     * Removes a file or an empty folder. Often done on the way out of a failure, hence unchecked.
     */
    int (*remove)(struct dbk_os *os, const char *path, struct dbk_error *err);
    /* Creates one folder; one that exists is fine. */
    int (*make_folder)(struct dbk_os *os, const char *path, struct dbk_error *err) DBK_MUST_CHECK;
    /* Only the owner may read and write a file (0600), or enter a folder (0700), from now on. */
    int (*protect)(struct dbk_os *os, const char *path, struct dbk_error *err) DBK_MUST_CHECK;
    /* Makes names created, renamed and removed in a folder durable. */
    int (*sync_folder)(struct dbk_os *os, const char *path, struct dbk_error *err) DBK_MUST_CHECK;
    /*
     * Calls each for every name in a folder but "." and "..", in no order, until one is negative.
     */
    int (*list)(struct dbk_os *os, const char *path, dbk_os_each_fn each, void *context,
                struct dbk_error *err) DBK_MUST_CHECK;
    /* Takes an exclusive lock that ends with the process or close. DBK_EBUSY: held by another. */
    int (*lock)(struct dbk_os *os, const struct dbk_file *file,
                struct dbk_error *err) DBK_MUST_CHECK;
    int64_t (*now_us)(struct dbk_os *os);       /* wall clock, us since 1970 */
    int64_t (*monotonic_us)(struct dbk_os *os); /* never goes back; from no particular start */
    int (*random)(struct dbk_os *os, void *buffer, size_t size,
                  struct dbk_error *err) DBK_MUST_CHECK;
};

/* The real system; a static object, never freed. */
struct dbk_os *dbk_os_real(void);

/* Reads a whole file; DBK_ELIMIT past size_max. Bytes are appended to the buffer. */
struct dbk_buf;
int dbk_os_read_file(struct dbk_os *os, const char *path, size_t size_max, struct dbk_buf *bytes,
                     struct dbk_error *err) DBK_MUST_CHECK;

/* Creates a folder, durably under its name; one that exists is fine. */
int dbk_os_make_folder(struct dbk_os *os, const char *path, struct dbk_error *err) DBK_MUST_CHECK;

/*
 * Replaces a file as a whole, durably: writes beside it, syncs, renames, syncs the folder. After a
 * crash the old or the new content is there.
 */
int dbk_os_replace_file(struct dbk_os *os, const char *path, struct dbk_slice bytes,
                        struct dbk_error *err) DBK_MUST_CHECK;

#endif
