/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner -- whose files are on the real system: users, owners and modes, and what a user can open.
 *
 * Not behind the table of os.h: a simulated disk has no users. Files are changed by an open
 * descriptor that was looked at, so that nobody who owns the folder can put another file or a link
 * in the way meanwhile.
 *
 * Threads: dbk_owner_try from the only thread of a process; all else from any.
 * Source:  POSIX.1-2017; credentials(7), fork(2), getgrouplist(3).
 */
#ifndef DBK_OS_OWNER_H
#define DBK_OS_OWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define DBK_OWNER_GROUPS_MAX 256

struct dbk_owner_user {
    uint32_t uid;
    uint32_t gid; /* of files that are its own */
    uint32_t groups[DBK_OWNER_GROUPS_MAX];
    int group_count;
};

enum dbk_owner_kind { DBK_OWNER_FILE, DBK_OWNER_FOLDER, DBK_OWNER_OTHER };
struct dbk_owner_status {
    enum dbk_owner_kind kind;
    uint32_t uid;
    uint32_t gid;
    uint32_t mode; /* permissions alone */
};

/* The user that runs this process. */
uint32_t dbk_owner_self(void);
/* group: NULL is the user's own. DBK_ENOTFOUND: this machine has no such user or group. */
int dbk_owner_find(const char *user, const char *group, struct dbk_owner_user *user_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* A user by number, also one without a name. */
int dbk_owner_find_number(uint32_t uid, struct dbk_owner_user *user_out,
                          struct dbk_error *err) DBK_MUST_CHECK;
bool dbk_owner_is_in(const struct dbk_owner_user *user, uint32_t gid);
/* For messages: "orders", or its number. */
#define DBK_OWNER_NAME_SIZE 64
void dbk_owner_name(uint32_t uid, char name_out[DBK_OWNER_NAME_SIZE]);
void dbk_owner_group_name(uint32_t gid, char name_out[DBK_OWNER_NAME_SIZE]);

/* Of the thing itself, not of what a link leads to. DBK_ENOTFOUND, DBK_EDENIED, DBK_EIO. */
int dbk_owner_look(const char *path, struct dbk_owner_status *status_out,
                   struct dbk_error *err) DBK_MUST_CHECK;
/*
 * Gives a file or folder to a user and a group, with these permissions; in between only its owner
 * has any. DBK_EREFUSED: it is no plain file or folder, or has another name elsewhere.
 * DBK_EDENIED: it is not this process's to give.
 */
int dbk_owner_give(const char *path, const struct dbk_owner_status *status,
                   struct dbk_error *err) DBK_MUST_CHECK;
/* Makes an empty file or a folder that is so. DBK_EEXISTS. */
int dbk_owner_make(const char *path, const struct dbk_owner_status *status,
                   struct dbk_error *err) DBK_MUST_CHECK;

enum dbk_owner_action {
    DBK_OWNER_READ,
    DBK_OWNER_WRITE,
    DBK_OWNER_LIST,
    DBK_OWNER_MAKE_IN, /* a file in a folder, which is removed again */
};
struct dbk_owner_try {
    const char *path;
    enum dbk_owner_action action;
    int error; /* the system's number for why it failed; 0: it worked */
};
/*
 * Tries as a user, in a child process that has become it for good: it is that user's already, or
 * the system's. DBK_EDENIED: it can become nobody else; DBK_EIO.
 */
int dbk_owner_try(const struct dbk_owner_user *user, struct dbk_owner_try *tries, size_t count,
                  struct dbk_error *err) DBK_MUST_CHECK;

#endif
