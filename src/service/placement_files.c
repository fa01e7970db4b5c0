/* SPDX-License-Identifier: Apache-2.0 */
#include "service/placement_files.h"

#include <stdio.h>

#include "os/owner.h"

#define PATH_SIZE 4096

/* A file or folder, and whose it should be. */
struct thing {
    const char *service; /* "": the daemon's */
    const char *path;
    struct dbk_owner_status wanted;
    bool optional; /* it may be missing */
    bool keeps;    /* its owner: only others' right to write is taken */
    bool through;  /* and others get through it to what they know the name of */
    bool made;     /* the same run may make it before */
};

struct things {
    const struct dbk_files_scope *scope;
    struct dbk_arena *arena;
    struct dbk_owner_user keeper; /* who owns the data directory */
    struct thing *items;
    size_t count;
    size_t capacity;
};

const char *const dbk_files_beside[DBK_FILES_BESIDE_COUNT] = {"-wal", "-shm", "-journal"};

static int no_memory(struct dbk_error *err)
{
    return dbk_error_set(err, DBK_ENOMEM, "%s", dbk_code_text(DBK_ENOMEM));
}

static bool is_wanted(const struct dbk_files_scope *scope, const char *service)
{
    return scope->is_wanted == NULL || scope->is_wanted(scope->context, service);
}

bool dbk_files_is_sqlite(const struct dbk_service_definition *service)
{
    return service->own->database != NULL &&
           dbk_target_dialect(service->own->address) == DBK_DIALECT_SQLITE;
}

bool dbk_files_is_shared(const struct dbk_files_scope *scope,
                         const struct dbk_service_definition *service)
{
    return dbk_files_is_sqlite(service) &&
           dbk_service_share(scope->services, scope->count, service->own->database) > 1;
}

bool dbk_files_is_wanted(const struct dbk_files_scope *scope)
{
    for (size_t i = 0; i < scope->count; i++) {
        const struct dbk_service_definition *service = &scope->services[i];
        if (is_wanted(scope, service->own->name) &&
            (service->user != NULL || dbk_files_is_shared(scope, service)))
            return true;
    }
    return false;
}

/* ---- What there should be ---- */

static int add(struct things *things, const struct thing *thing, struct dbk_error *err)
{
    if (things->count == things->capacity) {
        size_t capacity = things->capacity == 0 ? 16 : 2 * things->capacity;
        struct thing *items = dbk_arena_alloc_zero(things->arena, capacity, sizeof(*items));
        if (items == NULL)
            return no_memory(err);
        if (things->count > 0)
            memcpy(items, things->items, things->count * sizeof(*items));
        things->items = items;
        things->capacity = capacity;
    }
    if (thing->path == NULL)
        return no_memory(err);
    things->items[things->count++] = *thing;
    return DBK_OK;
}

static bool has(const struct things *things, const char *path)
{
    for (size_t i = 0; path != NULL && i < things->count; i++) {
        if (strcmp(things->items[i].path, path) == 0)
            return true;
    }
    return false;
}

static const char *folder_of(struct things *things, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - path);
    return slash == NULL   ? "."
           : slash == path ? "/"
                           : dbk_arena_copy(things->arena, dbk_slice(path, size)).data;
}

struct listing {
    const char *base;
    const char *folder;
    const struct dbk_owner_user *user; /* whose the folder is already; NULL: it is to be given */
    char other[256]; /* a name that has nothing to do with the database; "": none */
};

/* What a user has put into its own folder: nothing of it is given away. */
static bool is_users(const struct listing *listing, const char *name)
{
    char path[PATH_SIZE];
    struct dbk_owner_status status;
    return listing->user != NULL &&
           snprintf(path, sizeof(path), "%s/%s", listing->folder, name) < (int)sizeof(path) &&
           dbk_owner_look(path, &status, NULL) == DBK_OK && status.uid == listing->user->uid;
}

static int take_entry(const char *name, void *context)
{
    struct listing *listing = context;
    size_t size = strlen(listing->base);
    bool same = strncmp(name, listing->base, size) == 0;
    bool own = same && name[size] == '\0';
    for (size_t i = 0; i < DBK_FILES_BESIDE_COUNT; i++)
        own = own || (same && strcmp(name + size, dbk_files_beside[i]) == 0);
    if (!own && !is_users(listing, name))
        (void)snprintf(listing->other, sizeof(listing->other), "%s", name);
    return DBK_OK;
}

/* Where no service gets to. */
static int check_place(const struct things *things, const struct dbk_service_definition *service,
                       struct dbk_error *err)
{
    const char *data = things->scope->data;
    size_t size = strlen(data);
    const char *path = service->own->address;
    if (strncmp(path, data, size) != 0 || path[size] != '/' || strncmp(path + size, "/../", 4) == 0)
        return DBK_OK;
    return dbk_error_set(
        err, DBK_EBOOK,
        "%s: its database is in the book's data directory, which no service opens: "
        "name a path elsewhere, `sqlite:/srv/%s/%s.db`",
        service->own->file, service->own->name, service->own->name);
}

/* A folder that is given away must hold nothing of anybody else's. */
static int check_folder(const struct dbk_service_definition *service, const char *folder,
                        const struct dbk_owner_user *user, struct dbk_error *err)
{
    struct dbk_os *os = dbk_os_real();
    struct dbk_owner_status status;
    struct listing listing = {.base = strrchr(service->own->address, '/'), .folder = folder};
    if (dbk_owner_look(folder, &status, NULL) == DBK_OK && status.uid == user->uid)
        listing.user = user;
    listing.base = listing.base == NULL ? service->own->address : listing.base + 1;
    int rc = os->list(os, folder, take_entry, &listing, err);
    if (rc == DBK_ENOTFOUND)
        return DBK_OK;
    if (rc < 0 || listing.other[0] == '\0')
        return rc;
    return dbk_error_set(
        err, DBK_EBOOK,
        "%s: its database is in %s beside `%s`, and whoever can write in a folder "
        "can replace what is in it: give it a folder of its own, `sqlite:/srv/%s/%s`",
        service->own->file, folder, listing.other, service->own->name, listing.base);
}

static int add_beside(struct things *things, const struct thing *file, struct dbk_error *err)
{
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < DBK_FILES_BESIDE_COUNT; i++) {
        struct thing one = *file;
        one.path = dbk_arena_format(things->arena, "%s%s", file->path, dbk_files_beside[i]);
        one.optional = true;
        rc = add(things, &one, err);
    }
    return rc;
}

static int add_database(struct things *things, const struct dbk_service_definition *service,
                        const struct dbk_owner_user *user, struct dbk_error *err)
{
    bool group = service->group != NULL;
    struct thing folder = {
        .service = service->own->name,
        .path = folder_of(things, service->own->address),
        .wanted = {DBK_OWNER_FOLDER, user->uid, user->gid, group ? 02770 : 0700}};
    struct thing file = {.service = service->own->name,
                         .path = service->own->address,
                         .wanted = {DBK_OWNER_FILE, user->uid, user->gid, group ? 0660 : 0600}};
    int rc = folder.path == NULL ? no_memory(err) : check_place(things, service, err);
    if (rc == DBK_OK)
        rc = check_folder(service, folder.path, user, err);
    if (rc == DBK_OK)
        rc = add(things, &folder, err);
    if (rc == DBK_OK)
        rc = add(things, &file, err);
    return rc < 0 ? rc : add_beside(things, &file, err);
}

/* The daemon's alone; what else its folder holds stays as it is. */
static int add_shared(struct things *things, const char *path, struct dbk_error *err)
{
    struct thing folder = {.service = "",
                           .path = folder_of(things, path),
                           .wanted = {DBK_OWNER_FOLDER, things->keeper.uid, 0, 0},
                           .keeps = true};
    struct thing file = {.service = "",
                         .path = path,
                         .wanted = {DBK_OWNER_FILE, things->keeper.uid, things->keeper.gid, 0600},
                         .optional = true};
    if (has(things, path))
        return DBK_OK;
    int rc = add(things, &folder, err);
    if (rc == DBK_OK)
        rc = add(things, &file, err);
    return rc < 0 ? rc : add_beside(things, &file, err);
}

const char *dbk_files_login(const struct dbk_service_definition *service)
{
    const char *rest = service->login == NULL ? NULL : strchr(service->login, ':');
    return rest != NULL && strncmp(rest + 1, "file:", 5) == 0 ? rest + 6 : NULL;
}

static int add_secrets(struct things *things, const struct dbk_service_definition *service,
                       const struct dbk_owner_user *user, struct dbk_error *err)
{
    const char *const paths[] = {service->key, dbk_files_login(service)};
    int rc = DBK_OK;
    for (size_t i = 0; rc == DBK_OK && i < 2; i++) {
        const struct thing folder = {.service = "",
                                     .path = paths[i] == NULL ? "" : folder_of(things, paths[i]),
                                     .wanted = {DBK_OWNER_FOLDER, things->keeper.uid, 0, 0},
                                     .keeps = true,
                                     .through = true,
                                     .made = true};
        const struct thing secret = {
            .service = service->own->name,
            .path = paths[i],
            .wanted = {DBK_OWNER_FILE, user->uid, user->gid, service->group != NULL ? 0640 : 0600},
            .optional = true,
            .made = true};
        if (paths[i] == NULL)
            continue;
        if (!has(things, folder.path))
            rc = add(things, &folder, err);
        if (rc == DBK_OK)
            rc = add(things, &secret, err);
    }
    return rc;
}

/* A group is the service's and the daemon's: what it can open is nobody else's. */
static int check_group(const struct things *things, const struct dbk_service_definition *service,
                       const struct dbk_owner_user *user, struct dbk_error *err)
{
    const struct dbk_files_scope *scope = things->scope;
    for (size_t i = 0; service->group != NULL && i < scope->count; i++) {
        const struct dbk_service_definition *other = &scope->services[i];
        struct dbk_owner_user one = {0};
        if (other != service && other->user != NULL &&
            dbk_owner_find(other->user, NULL, &one, NULL) == DBK_OK &&
            dbk_owner_is_in(&one, user->gid))
            return dbk_error_set(err, DBK_EBOOK,
                                 "%s: `user`: %s, the user of %s, is in the group %s, too: name a "
                                 "group of the service and the daemon alone",
                                 service->own->file, other->user, other->own->file, service->group);
    }
    return DBK_OK;
}

/* One for each service, and both it and the daemon can open what the other makes. */
static int find_user(const struct things *things, const struct dbk_service_definition *service,
                     struct dbk_owner_user *user, struct dbk_error *err)
{
    struct dbk_error failure = {0};
    char keeper[DBK_OWNER_NAME_SIZE];
    const struct dbk_files_scope *scope = things->scope;
    int rc = dbk_owner_find(service->user, service->group, user, &failure);
    if (rc < 0)
        return dbk_error_set(err, rc == DBK_ENOTFOUND ? DBK_EBOOK : rc, "%s: `user`: %s",
                             service->own->file, failure.message);
    if (user->uid == 0)
        return dbk_error_set(err, DBK_EBOOK, "%s: `user`: root opens everything: name another",
                             service->own->file);
    for (size_t i = 0; i < scope->count; i++) {
        const struct dbk_service_definition *other = &scope->services[i];
        struct dbk_owner_user one = {0};
        if (other == service || other->user == NULL)
            continue;
        /* One that this machine has not is said when its own turn comes. */
        if (strcmp(other->user, service->user) == 0 ||
            (dbk_owner_find(other->user, NULL, &one, NULL) == DBK_OK && one.uid == user->uid))
            return dbk_error_set(
                err, DBK_EBOOK,
                "%s: `user`: %s is the user of %s, too: what is the one's would be "
                "the other's",
                service->own->file, service->user, other->own->file);
    }
    dbk_owner_name(things->keeper.uid, keeper);
    bool root = things->keeper.uid == 0;
    if (service->group == NULL && !root && things->keeper.uid != user->uid)
        return dbk_error_set(err, DBK_EBOOK,
                             "%s: `user`: the daemon runs as %s, which could not open what is %s's "
                             "alone: name a group that both are in: `user: %s:<group>`",
                             service->own->file, keeper, service->user, service->user);
    if (service->group != NULL && (!dbk_owner_is_in(user, user->gid) ||
                                   (!root && !dbk_owner_is_in(&things->keeper, user->gid))))
        return dbk_error_set(
            err, DBK_EBOOK, "%s: `user`: %s is not in the group %s", service->own->file,
            dbk_owner_is_in(user, user->gid) ? keeper : service->user, service->group);
    return check_group(things, service, user, err);
}

static int find_keeper(const char *data, struct dbk_owner_user *keeper, struct dbk_error *err)
{
    struct dbk_owner_status status = {.uid = dbk_owner_self()};
    int rc = dbk_owner_look(data, &status, err);
    return rc < 0 && rc != DBK_ENOTFOUND ? rc : dbk_owner_find_number(status.uid, keeper, err);
}

static int list_things(struct things *things, struct dbk_error *err)
{
    const struct dbk_files_scope *scope = things->scope;
    int rc = find_keeper(scope->data, &things->keeper, err);
    for (size_t i = 0; rc == DBK_OK && i < scope->count; i++) {
        const struct dbk_service_definition *service = &scope->services[i];
        struct dbk_owner_user user;
        if (!is_wanted(scope, service->own->name))
            continue;
        if (dbk_files_is_shared(scope, service))
            rc = add_shared(things, service->own->address, err);
        if (rc < 0 || service->user == NULL)
            continue;
        rc = find_user(things, service, &user, err);
        if (rc == DBK_OK && dbk_files_is_sqlite(service) && !dbk_files_is_shared(scope, service))
            rc = add_database(things, service, &user, err);
        if (rc == DBK_OK)
            rc = add_secrets(things, service, &user, err);
    }
    return rc;
}

/* ---- Where it differs ---- */

/* Fills in what a folder that keeps its owner should be. */
static bool differs(struct thing *thing, const struct dbk_owner_status *found)
{
    if (thing->keeps) {
        thing->wanted.gid = found->gid;
        thing->wanted.uid = found->uid == 0 ? 0 : thing->wanted.uid;
        thing->wanted.mode =
            (found->mode & ~(found->mode & 01000 ? 0U : 022U)) | (thing->through ? 0111U : 0U);
    }
    return found->kind != thing->wanted.kind || found->uid != thing->wanted.uid ||
           found->gid != thing->wanted.gid || found->mode != thing->wanted.mode;
}

static int add_difference(const struct thing *thing, const struct dbk_owner_status *found,
                          struct dbk_placement *placement, struct dbk_error *err)
{
    char user[DBK_OWNER_NAME_SIZE];
    char group[DBK_OWNER_NAME_SIZE];
    char now[DBK_OWNER_NAME_SIZE] = "";
    char now_group[DBK_OWNER_NAME_SIZE] = "";
    const struct dbk_owner_status *wanted = &thing->wanted;
    struct dbk_difference difference = {
        .service = thing->service, .place = thing->made ? thing->path : NULL, .step = 1};
    dbk_owner_name(wanted->uid, user);
    dbk_owner_group_name(wanted->gid, group);
    if (found == NULL) {
        difference.what = dbk_arena_format(placement->arena, "there is no %s", thing->path);
        difference.sql = dbk_arena_format(
            placement->arena, "install %s-o %s -g %s -m %04o %s%s",
            wanted->kind == DBK_OWNER_FOLDER ? "-d " : "", user, group, (unsigned)wanted->mode,
            wanted->kind == DBK_OWNER_FOLDER ? "" : "/dev/null ", thing->path);
    } else {
        dbk_owner_name(found->uid, now);
        dbk_owner_group_name(found->gid, now_group);
        difference.what = dbk_arena_format(placement->arena, "%s is %s:%s's, %04o", thing->path,
                                           now, now_group, (unsigned)found->mode);
        difference.sql = dbk_arena_format(placement->arena, "chown %s:%s %s && chmod %04o %s", user,
                                          group, thing->path, (unsigned)wanted->mode, thing->path);
    }
    return difference.what == NULL || difference.sql == NULL
               ? no_memory(err)
               : dbk_placement_add(placement, &difference, err);
}

enum state { STATE_SAME, STATE_MISSING, STATE_DIFFERENT };

static int look_at(struct thing *thing, struct dbk_owner_status *found, enum state *state_out,
                   struct dbk_error *err)
{
    struct dbk_error failure = {0};
    int rc = dbk_owner_look(thing->path, found, &failure);
    *state_out = STATE_SAME;
    if (rc == DBK_ENOTFOUND) {
        *state_out = thing->optional || thing->keeps ? STATE_SAME : STATE_MISSING;
        return DBK_OK;
    }
    if (rc < 0) {
        *err = failure;
        return rc;
    }
    if (found->kind != thing->wanted.kind)
        return dbk_error_set(err, DBK_EBOOK, "%s is no %s", thing->path,
                             thing->wanted.kind == DBK_OWNER_FOLDER ? "folder" : "plain file");
    *state_out = differs(thing, found) ? STATE_DIFFERENT : STATE_SAME;
    return DBK_OK;
}

static int compare(struct things *things, struct dbk_placement *placement, struct dbk_error *err)
{
    int rc = DBK_OK;
    placement->count = 0;
    for (size_t i = 0; rc == DBK_OK && i < things->count; i++) {
        struct dbk_owner_status found = {0};
        enum state state = STATE_SAME;
        rc = look_at(&things->items[i], &found, &state, err);
        if (rc == DBK_OK && state != STATE_SAME)
            rc = add_difference(&things->items[i], state == STATE_MISSING ? NULL : &found,
                                placement, err);
    }
    return rc;
}

int dbk_files_look(const struct dbk_files_scope *scope, struct dbk_placement *placement,
                   struct dbk_error *err)
{
    struct things things = {.scope = scope, .arena = placement->arena};
    int rc = list_things(&things, err);
    return rc < 0 ? rc : compare(&things, placement, err);
}

/* ---- Applying ---- */

/* What was done, to be undone. */
struct done {
    const struct thing *thing;
    struct dbk_owner_status before;
    bool made;
};

static int change(struct thing *thing, struct done *done, size_t *count, struct dbk_error *err)
{
    enum state state = STATE_SAME;
    struct done *one = &done[*count];
    *one = (struct done){.thing = thing};
    int rc = look_at(thing, &one->before, &state, err);
    if (rc < 0 || state == STATE_SAME)
        return rc;
    one->made = state == STATE_MISSING;
    rc = one->made ? dbk_owner_make(thing->path, &thing->wanted, err)
                   : dbk_owner_give(thing->path, &thing->wanted, err);
    if (rc == DBK_OK || !one->made)
        (*count)++; /* A half-changed one is given back, too. */
    return rc;
}

/* False: something could not be given back, and is as it should have become. */
static bool undo(const struct done *done, size_t count)
{
    struct dbk_os *os = dbk_os_real();
    bool all = true;
    while (count-- > 0) {
        int rc = done[count].made
                     ? os->remove(os, done[count].thing->path, NULL)
                     : dbk_owner_give(done[count].thing->path, &done[count].before, NULL);
        all = all && rc == DBK_OK;
    }
    return all;
}

/* Keys and logins that were made since, and their folders, are given away with what was shown. */
static bool is_as_shown(const struct dbk_placement *now, const struct dbk_placement *shown)
{
    size_t at = 0;
    for (size_t i = 0; i < now->count; i++) {
        if (at < shown->count && strcmp(now->items[i].sql, shown->items[at].sql) == 0)
            at++;
        else if (now->items[i].place == NULL)
            return false;
    }
    return at == shown->count;
}

int dbk_files_apply(const struct dbk_files_scope *scope, const struct dbk_placement *shown,
                    struct dbk_error *err)
{
    struct things things = {.scope = scope, .arena = shown->arena};
    struct dbk_placement now = {.arena = shown->arena};
    struct dbk_error failure = {0};
    size_t count = 0;
    int rc = list_things(&things, err);
    if (rc == DBK_OK)
        rc = compare(&things, &now, err);
    if (rc == DBK_OK && !is_as_shown(&now, shown))
        rc = dbk_error_set(err, DBK_EBUSY, "files were changed meanwhile: look again");
    struct done *done = dbk_arena_alloc_zero(shown->arena, things.count + 1, sizeof(*done));
    if (rc == DBK_OK && done == NULL)
        rc = no_memory(err);
    for (size_t i = 0; rc == DBK_OK && i < things.count; i++) {
        rc = change(&things.items[i], done, &count, &failure);
        if (rc < 0)
            dbk_ignore(dbk_error_set(
                err, rc, "%s%s; %s", failure.message,
                rc == DBK_EDENIED
                    ? " (only root gives files to others: `sudo daybook service apply`)"
                    : "",
                undo(done, count) ? "nothing was changed"
                                  : "not all that was changed could be given back: `daybook "
                                    "service check` shows it"));
    }
    return rc;
}
