/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim -- the twin of the real system: a disk in memory that fails and crashes on demand.
 *
 * Every file has what programs see and what is on the disk; writes, truncations and names (created,
 * renamed, removed) are pending until a sync of the file or of the folder. A crash leaves the disk
 * with none, all or some of what was pending:
 *
 *     struct dbk_sim *sim = dbk_sim_create(1);
 *     struct dbk_os *os = dbk_sim_os(sim);
 *     run(os);                                   -- once without faults, to count
 *     uint64_t calls = dbk_sim_calls(sim, 0);
 *     for each n from 1 to calls:
 *         sim = dbk_sim_create(1);
 *         dbk_sim_crash_at(sim, n);
 *         run(dbk_sim_os(sim));                  -- from its n-th call on everything fails
 *         dbk_sim_restart(sim, DBK_SIM_TORN, DBK_SIM_TORN, seed);
 *         check(dbk_sim_os(sim));                -- what recovery makes of it
 *
 * What it does as a hard disk and kernel may, and tests often forget:
 *
 * - A write that fails may have written a part (never all) of its bytes.
 * - After a file's failed sync its bytes can still be read, and later syncs succeed, but only bytes
 *   written after the failure become durable by them. (Names can be synced again.)
 * - A file's sync does not make its name durable, a name's durability does not bring its bytes.
 * - Bytes reach the disk in sectors of 512, in any order.
 *
 * Everything is a function of the seeds. Paths are compared as they are written, but for slashes at
 * the end; the folders "", "." and "/" exist. A mapping is a copy of the bytes of its moment.
 * Memory does not come from dbk_alloc, so that a failing allocator strikes only the engine; the
 * simulator aborts when it has none.
 *
 * Threads: any; the order of their calls is then theirs.
 * Source:  DESIGN sections 2 and 9.
 */
#ifndef DBK_OS_SIM_H
#define DBK_OS_SIM_H

#include "os/os.h"

#define DBK_SIM_SECTOR_SIZE 512

struct dbk_sim;

/* Calls that are counted and can fail, as a mask. */
enum dbk_sim_call {
    DBK_SIM_OPEN = 1 << 0,
    DBK_SIM_PREAD = 1 << 1,
    DBK_SIM_PWRITE = 1 << 2,
    DBK_SIM_SYNC = 1 << 3,
    DBK_SIM_SIZE = 1 << 4,
    DBK_SIM_TRUNCATE = 1 << 5,
    DBK_SIM_MAP = 1 << 6,
    DBK_SIM_RENAME = 1 << 7,
    DBK_SIM_REMOVE = 1 << 8,
    DBK_SIM_MAKE_FOLDER = 1 << 9,
    DBK_SIM_SYNC_FOLDER = 1 << 10,
    DBK_SIM_LIST = 1 << 11,
    DBK_SIM_LOCK = 1 << 12,
    DBK_SIM_RANDOM = 1 << 13,
    DBK_SIM_PROTECT = 1 << 14,
    /* Those that change what is on the disk: enough for crash points. */
    DBK_SIM_CHANGES = DBK_SIM_OPEN | DBK_SIM_PWRITE | DBK_SIM_SYNC | DBK_SIM_TRUNCATE |
                      DBK_SIM_RENAME | DBK_SIM_REMOVE | DBK_SIM_MAKE_FOLDER | DBK_SIM_SYNC_FOLDER,
};

/* What a crash keeps of what was pending. */
enum dbk_sim_keep {
    DBK_SIM_NONE,
    DBK_SIM_ALL,
    DBK_SIM_PREFIX, /* in the order of the calls up to a random one; data and names alike */
    DBK_SIM_TORN,   /* the same, and of the next write only some sectors */
    DBK_SIM_SUBSET, /* each name by chance, and of each write each sector by chance */
};

/* An empty disk; owned by the caller, ends with dbk_sim_free. The seed is for random bytes and for
   how much a failing write writes. */
struct dbk_sim *dbk_sim_create(uint64_t seed);
/* An independent one with the same files as programs see them now, all durable; no faults. */
struct dbk_sim *dbk_sim_clone(struct dbk_sim *sim, uint64_t seed);
/* Everything opened through it must be closed before or never used again. NULL is fine. */
void dbk_sim_free(struct dbk_sim *sim);

/* The table to hand to the engine; belongs to the simulator. */
struct dbk_os *dbk_sim_os(struct dbk_sim *sim);

/* Calls of these kinds (a mask; 0: of all) since it was created or restarted. */
uint64_t dbk_sim_calls(struct dbk_sim *sim, unsigned kinds);

/*
 * Makes a call fail: the at-th from now (1: the next) of these kinds (a mask; 0: of all), with a
 * code such as DBK_EIO, DBK_EFULL, DBK_EDENIED. There is one fault at a time; at 0 takes it back.
 *
 * for_ever  the calls of these kinds after it fail, too
 */
void dbk_sim_fail_at(struct dbk_sim *sim, uint64_t at, unsigned kinds, int code, bool for_ever);
/* Crashes at the at-th call from now of these kinds: it and all calls after it fail with DBK_EIO.
   What it would have written is pending. At 0 takes it back. */
void dbk_sim_crash_at(struct dbk_sim *sim, uint64_t at, unsigned kinds);
/* True when the point set was reached. */
bool dbk_sim_crashed(struct dbk_sim *sim);

/*
 * Crashes now, if it has not yet, and starts again: what was pending is kept or lost, what was open
 * is closed, locks are gone, faults are taken back, calls count from 0.
 */
void dbk_sim_restart(struct dbk_sim *sim, enum dbk_sim_keep data, enum dbk_sim_keep names,
                     uint64_t seed);

/* A file as programs see it, valid until the next call; data is NULL when there is none. */
struct dbk_slice dbk_sim_file(struct dbk_sim *sim, const char *path);
/* Replaces a file's bytes, durably; creates it. Counts as no call. */
void dbk_sim_set_file(struct dbk_sim *sim, const char *path, struct dbk_slice bytes);
/* Turns bits of one byte of a file over, durably. The byte must be there. */
void dbk_sim_flip(struct dbk_sim *sim, const char *path, uint64_t offset, uint8_t mask);
/* A number that differs when any path, or byte of a file, differs. */
uint64_t dbk_sim_fingerprint(struct dbk_sim *sim);

/* The clocks: each reading is 1 us later than the one before; this lets more time pass. */
void dbk_sim_pass_us(struct dbk_sim *sim, int64_t duration_us);

#endif
