/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state -- a group in memory, shared by this room's sources.
 */
#ifndef DBK_GROUP_STATE_H
#define DBK_GROUP_STATE_H

#include <pthread.h>

#include "group/group.h"

#define DBK_GROUPS_STREAM "$groups"
#define DBK_GROUP_PREFIX "$group-"
#define DBK_GROUP_PARKED_PREFIX "$parked-"
/* What a group keeps, as text: its settings and some 20 bytes for each open event. */
#define DBK_GROUP_TEXT_MAX ((size_t)1 << 20)

enum dbk_group_entry_state {
    DBK_ENTRY_READY,
    DBK_ENTRY_LEASED,  /* until due */
    DBK_ENTRY_WAITING, /* for its next try, at due */
    DBK_ENTRY_DONE,    /* swept before the lock is given back */
};

/* An open event. */
struct dbk_group_entry {
    uint64_t position;
    uint64_t stream; /* its name's hash */
    int64_t due_us;  /* by the monotonic clock */
    uint32_t attempts;
    uint32_t consumer;
    enum dbk_group_entry_state state;
    char *reason; /* of the last failure; NULL: none was given */
};

struct dbk_group_put_aside {
    uint64_t position;
    uint64_t stream;
};

struct dbk_group_settings {
    struct dbk_arena arena;
    struct dbk_json *json; /* of text: the filter's names are its nodes' */
    struct dbk_slice text; /* as kept and shown */
    struct dbk_filter filter;
    uint64_t after;
    bool has_after;
    bool ordered;
    int64_t timeout_us;
    int64_t retry_delay_us;
    uint64_t max_retries;
    uint64_t window;
};

/* A set of hashes, emptied and filled again for each walk over the entries. */
struct dbk_group_keys {
    uint64_t *slots; /* 0: free */
    size_t mask;
};

struct dbk_group {
    struct dbk_group *next; /* in the order of their making */
    struct dbk_groups *groups;
    char name[DBK_GROUP_NAME_MAX + 1];
    pthread_mutex_t lock;
    bool exists;
    struct dbk_group_settings settings;
    uint64_t position;
    struct dbk_cursor *cursor;       /* behind position; NULL: not opened yet */
    struct dbk_group_entry *entries; /* open ones, by position */
    size_t count;
    size_t capacity;
    struct dbk_group_put_aside *parked; /* by position */
    size_t parked_count;
    size_t parked_capacity;
    uint64_t parked_version; /* of $parked-<name> */
    uint64_t parked_after;   /* versions up to it count no more */
    struct dbk_group_keys busy;
    struct dbk_group_keys blocked;
    uint32_t last_consumer;
    uint64_t consumers;
    unsigned readers; /* that wait */
    uint64_t unsaved; /* answers since it was saved */
    bool dirty;
    uint64_t delivered;
    uint64_t acked;
    uint64_t retried;
    struct dbk_error trouble;
};

struct dbk_groups {
    struct dbk_store *store;
    struct dbk_os *os;
    bool writer;
    dbk_append_fn append;
    void *context;
    pthread_mutex_t lock; /* of the list, and of making and removing */
    struct dbk_group *first;
    pthread_t saver;
    pthread_cond_t ends;
    pthread_mutex_t ends_lock;
    bool saver_runs;
    bool saver_ends;
};

/* ---- settings.c ---- */

/* Empty, with all defaults. */
void dbk_group_settings_init(struct dbk_group_settings *settings);
void dbk_group_settings_release(struct dbk_group_settings *settings);
/* last: the position that "now" is. */
int dbk_group_settings_read(struct dbk_group_settings *settings, const struct dbk_json_node *root,
                            uint64_t last, struct dbk_error *err) DBK_MUST_CHECK;

/* ---- save.c ---- */

/* What a group was when it was last saved; exists is false when there is none. Locked. */
int dbk_group_load(struct dbk_group *group, struct dbk_error *err) DBK_MUST_CHECK;
/* Saves it, with more events before it in the same batch. Locked. */
int dbk_group_save(struct dbk_group *group, const struct dbk_new_event *more, size_t more_count,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Empties what is in memory of it. */
void dbk_group_forget(struct dbk_group *group);
/* An event of the book's own. The slices are borrowed. */
struct dbk_new_event dbk_group_event(struct dbk_slice stream, const char *type,
                                     struct dbk_slice data);
/* A prefix and the group's name; text has room for DBK_GROUP_NAME_MAX + 16 bytes. */
struct dbk_slice dbk_group_stream(const struct dbk_group *group, const char *prefix, char *text);

/* ---- deliver.c ---- */

uint64_t dbk_group_stream_key(struct dbk_slice stream);
/* Where a position is or would be among the open ones. */
size_t dbk_group_place(const struct dbk_group *group, uint64_t position);
/* Adds an open event at its place; one that is there is left alone. */
int dbk_group_add(struct dbk_group *group, uint64_t position, uint64_t stream, uint32_t attempts,
                  struct dbk_error *err) DBK_MUST_CHECK;
/* Looks further in the book until the window is full. */
int dbk_group_fill(struct dbk_group *group, struct dbk_error *err) DBK_MUST_CHECK;
/* 1: the event at a position, valid until the cursor is freed; 0: it was removed. */
int dbk_group_event_at(struct dbk_group *group, uint64_t position, struct dbk_cursor **cursor_out,
                       struct dbk_event *event_out, struct dbk_error *err) DBK_MUST_CHECK;
/* Takes out what is done. */
void dbk_group_sweep(struct dbk_group *group);
/* Wakes readers that wait for this group. Locked. */
void dbk_group_wake(struct dbk_group *group);

/* Empties a set, with room for count. */
int dbk_group_keys_reset(struct dbk_group_keys *keys, size_t count,
                         struct dbk_error *err) DBK_MUST_CHECK;
/* True when it was not in it. */
bool dbk_group_keys_add(struct dbk_group_keys *keys, uint64_t key);
bool dbk_group_keys_has(const struct dbk_group_keys *keys, uint64_t key);

/* ---- parked.c ---- */

int dbk_group_load_parked(struct dbk_group *group, struct dbk_error *err) DBK_MUST_CHECK;
/* Where a position is or would be among the parked ones. */
size_t dbk_group_parked_place(const struct dbk_group *group, uint64_t position);
bool dbk_group_is_parked(const struct dbk_group *group, uint64_t position);
/*
 * Parks entries (by index, in order), and marks them done. reason: of all; NULL: each its own.
 * DBK_ELIMIT: too many are.
 */
int dbk_group_park(struct dbk_group *group, const size_t *indexes, size_t count, const char *reason,
                   struct dbk_error *err) DBK_MUST_CHECK;

/* EventParked's data. */
void dbk_group_write_parked(struct dbk_buf *out, uint64_t position, uint32_t attempts,
                            const struct dbk_event *event, const char *reason);

/* ---- group.c ---- */

/* Finds a group and locks it; DBK_ENOTFOUND. */
int dbk_group_find(struct dbk_groups *groups, struct dbk_slice name, struct dbk_group **group_out,
                   struct dbk_error *err) DBK_MUST_CHECK;

#endif
