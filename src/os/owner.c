/* SPDX-License-Identifier: Apache-2.0 */
#include "os/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

#define ENTRY_SIZE ((size_t)64 << 10)
#define PERMISSIONS 07777
#define PROBE "_daybook_probe"

/* ---- Users ---- */

uint32_t dbk_owner_self(void)
{
    return geteuid();
}

static int find_groups(const char *name, struct dbk_owner_user *user, struct dbk_error *err)
{
    gid_t groups[DBK_OWNER_GROUPS_MAX];
    int count = DBK_OWNER_GROUPS_MAX;
    if (getgrouplist(name, user->gid, groups, &count) < 0)
        return dbk_error_set(err, DBK_ELIMIT, "the user %s is in more than %d groups", name,
                             DBK_OWNER_GROUPS_MAX);
    for (int i = 0; i < count; i++)
        user->groups[i] = groups[i];
    user->group_count = count;
    return DBK_OK;
}

static int find_group(const char *name, uint32_t *gid_out, struct dbk_error *err)
{
    struct group group;
    struct group *found = NULL;
    char *entry = dbk_alloc(ENTRY_SIZE);
    if (entry == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory looking for the group %s", name);
    int rc = getgrnam_r(name, &group, entry, ENTRY_SIZE, &found);
    if (found != NULL)
        *gid_out = found->gr_gid;
    dbk_free(entry);
    if (rc != 0)
        return dbk_error_set_errno(err, rc, "look for the group %s", name);
    return found != NULL ? DBK_OK
                         : dbk_error_set(err, DBK_ENOTFOUND, "this machine has no group %s", name);
}

int dbk_owner_find(const char *user, const char *group, struct dbk_owner_user *user_out,
                   struct dbk_error *err)
{
    struct passwd one;
    struct passwd *found = NULL;
    char *entry = dbk_alloc(ENTRY_SIZE);
    if (entry == NULL)
        return dbk_error_set(err, DBK_ENOMEM, "out of memory looking for the user %s", user);
    *user_out = (struct dbk_owner_user){0};
    int number = getpwnam_r(user, &one, entry, ENTRY_SIZE, &found);
    if (found != NULL) {
        user_out->uid = found->pw_uid;
        user_out->gid = found->pw_gid;
    }
    dbk_free(entry);
    if (number != 0)
        return dbk_error_set_errno(err, number, "look for the user %s", user);
    if (found == NULL)
        return dbk_error_set(err, DBK_ENOTFOUND, "this machine has no user %s", user);
    int rc = find_groups(user, user_out, err);
    return rc < 0 || group == NULL ? rc : find_group(group, &user_out->gid, err);
}

int dbk_owner_find_number(uint32_t uid, struct dbk_owner_user *user_out, struct dbk_error *err)
{
    char name[DBK_OWNER_NAME_SIZE];
    dbk_owner_name(uid, name);
    if (name[0] < '0' || name[0] > '9')
        return dbk_owner_find(name, NULL, user_out, err);
    *user_out = (struct dbk_owner_user){.uid = uid, .gid = uid, .groups = {uid}, .group_count = 1};
    return DBK_OK;
}

bool dbk_owner_is_in(const struct dbk_owner_user *user, uint32_t gid)
{
    for (int i = 0; i < user->group_count; i++) {
        if (user->groups[i] == gid)
            return true;
    }
    return false;
}

void dbk_owner_name(uint32_t uid, char name_out[DBK_OWNER_NAME_SIZE])
{
    struct passwd one;
    struct passwd *found = NULL;
    char *entry = dbk_alloc(ENTRY_SIZE);
    (void)snprintf(name_out, DBK_OWNER_NAME_SIZE, "%u", (unsigned)uid);
    if (entry != NULL && getpwuid_r(uid, &one, entry, ENTRY_SIZE, &found) == 0 && found != NULL)
        (void)snprintf(name_out, DBK_OWNER_NAME_SIZE, "%s", found->pw_name);
    dbk_free(entry);
}

void dbk_owner_group_name(uint32_t gid, char name_out[DBK_OWNER_NAME_SIZE])
{
    struct group one;
    struct group *found = NULL;
    char *entry = dbk_alloc(ENTRY_SIZE);
    (void)snprintf(name_out, DBK_OWNER_NAME_SIZE, "%u", (unsigned)gid);
    if (entry != NULL && getgrgid_r(gid, &one, entry, ENTRY_SIZE, &found) == 0 && found != NULL)
        (void)snprintf(name_out, DBK_OWNER_NAME_SIZE, "%s", found->gr_name);
    dbk_free(entry);
}

/* ---- Files ---- */

static struct dbk_owner_status status_of(const struct stat *status)
{
    return (struct dbk_owner_status){.kind = S_ISREG(status->st_mode)   ? DBK_OWNER_FILE
                                             : S_ISDIR(status->st_mode) ? DBK_OWNER_FOLDER
                                                                        : DBK_OWNER_OTHER,
                                     .uid = status->st_uid,
                                     .gid = status->st_gid,
                                     .mode = status->st_mode & PERMISSIONS};
}

int dbk_owner_look(const char *path, struct dbk_owner_status *status_out, struct dbk_error *err)
{
    struct stat status;
    if (lstat(path, &status) < 0)
        return dbk_error_set_errno(err, errno, "look at %s", path);
    *status_out = status_of(&status);
    return DBK_OK;
}

static int give(int fd, const char *path, const struct dbk_owner_status *status,
                struct dbk_error *err)
{
    bool folder = status->kind == DBK_OWNER_FOLDER;
    if (fchmod(fd, folder ? 0700 : 0600) < 0 || fchown(fd, status->uid, status->gid) < 0 ||
        fchmod(fd, status->mode) < 0)
        return dbk_error_set_errno(err, errno, "give %s to another user", path);
    return DBK_OK;
}

int dbk_owner_give(const char *path, const struct dbk_owner_status *status, struct dbk_error *err)
{
    struct stat found;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return dbk_error_set_errno(err, errno, "open %s, to give it to another user", path);
    int rc = fstat(fd, &found) < 0 ? dbk_error_set_errno(err, errno, "look at %s", path) : DBK_OK;
    if (rc == DBK_OK && (status_of(&found).kind != status->kind ||
                         (status->kind == DBK_OWNER_FILE && found.st_nlink != 1)))
        rc = dbk_error_set(err, DBK_EREFUSED,
                           "%s is no plain file or folder with this name alone: it is not given to "
                           "anybody",
                           path);
    if (rc == DBK_OK)
        rc = give(fd, path, status, err);
    (void)close(fd);
    return rc;
}

int dbk_owner_make(const char *path, const struct dbk_owner_status *status, struct dbk_error *err)
{
    if (status->kind == DBK_OWNER_FOLDER) {
        if (mkdir(path, 0700) < 0)
            return dbk_error_set_errno(err, errno, "make %s", path);
    } else {
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return dbk_error_set_errno(err, errno, "make %s", path);
        (void)close(fd);
    }
    int rc = dbk_owner_give(path, status, err);
    if (rc < 0)
        (void)remove(path);
    return rc;
}

/* ---- Trying ---- */

static int try_make(const char *folder)
{
    char path[4096];
    int size = snprintf(path, sizeof(path), "%s/" PROBE "_%ld", folder, (long)getpid());
    if (size >= (int)sizeof(path))
        return ENAMETOOLONG;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    (void)close(fd);
    (void)unlink(path);
    return 0;
}

static int try_one(const struct dbk_owner_try *one)
{
    if (one->action == DBK_OWNER_MAKE_IN)
        return try_make(one->path);
    int flags = one->action == DBK_OWNER_WRITE ? O_WRONLY : O_RDONLY;
    if (one->action == DBK_OWNER_LIST)
        flags |= O_DIRECTORY;
    int fd = open(one->path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    (void)close(fd);
    return 0;
}

/* 0, or the system's number for why it is still somebody else. */
static int become(const struct dbk_owner_user *user)
{
    gid_t groups[DBK_OWNER_GROUPS_MAX];
    if (geteuid() == user->uid && geteuid() != 0)
        return 0;
    for (int i = 0; i < user->group_count; i++)
        groups[i] = user->groups[i];
    if (setgroups((size_t)user->group_count, groups) < 0 ||
        setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0)
        return errno;
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return geteuid() == user->uid && setuid(0) < 0 ? 0 : EPERM;
}

/* Writes a number for each, the first being of becoming the user. */
static void child(int out, const struct dbk_owner_user *user, const struct dbk_owner_try *tries,
                  size_t count)
{
    int number = become(user);
    bool good = write(out, &number, sizeof(number)) == (ssize_t)sizeof(number) && number == 0;
    for (size_t i = 0; good && i < count; i++) {
        number = try_one(&tries[i]);
        good = write(out, &number, sizeof(number)) == (ssize_t)sizeof(number);
    }
    _exit(good ? 0 : 1);
}

static bool receive(int in, int *number_out)
{
    ssize_t got = 0;
    do
        got = read(in, number_out, sizeof(*number_out));
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof(*number_out); /* pipes keep so few bytes together */
}

int dbk_owner_try(const struct dbk_owner_user *user, struct dbk_owner_try *tries, size_t count,
                  struct dbk_error *err)
{
    int pipes[2];
    int number = 0;
    int rc = DBK_OK;
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return dbk_error_set_errno(err, errno, "make a pipe");
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pipes[0]);
        child(pipes[1], user, tries, count);
    }
    (void)close(pipes[1]);
    if (pid < 0)
        rc = dbk_error_set_errno(err, errno, "start a process as another user");
    else if (!receive(pipes[0], &number))
        rc = dbk_error_set(err, DBK_EIO, "the process that was to try as another user ended");
    else if (number != 0)
        rc = dbk_error_set(err, DBK_EDENIED, "this process cannot become another user: %s",
                           strerror(number));
    for (size_t i = 0; rc == DBK_OK && i < count; i++) {
        if (!receive(pipes[0], &tries[i].error))
            rc = dbk_error_set(err, DBK_EIO, "the process that tried as another user ended");
    }
    (void)close(pipes[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return rc;
}
