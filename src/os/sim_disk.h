/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_disk -- what the simulator's disk holds: nodes with their pending changes, and names.
 *
 * Each change and each name's change has a sequence number of the whole disk, so that a prefix can
 * be kept over all of them. A lost one was pending when its file's sync failed: no later sync
 * makes it durable.
 *
 * Threads: the simulator's lock guards all.
 */
#ifndef DBK_OS_SIM_DISK_H
#define DBK_OS_SIM_DISK_H

#include "os/sim.h"

enum sim_change_state { SIM_PENDING, SIM_SYNCED, SIM_LOST };

/* A write, or with bytes.data NULL a truncation to `offset`. */
struct sim_change {
    struct sim_change *next;
    uint64_t sequence;
    enum sim_change_state state;
    uint64_t offset;
    size_t size;
    char *bytes;
};

struct sim_bytes {
    char *data;
    size_t size;
    size_t capacity;
};

/* A file or a folder, whatever its names. */
struct sim_node {
    struct sim_node *next;
    bool folder;
    int locked_by; /* fd; -1: nobody */
    struct sim_bytes seen;
    struct sim_bytes durable;
    struct sim_change *changes; /* oldest first; durable and they make up seen */
    struct sim_change **changes_end;
};

struct sim_name {
    char *path;
    struct sim_node *node;
};

struct sim_names {
    struct sim_name *items;
    size_t count;
};

/* `to` gets the node (NULL: is removed), `from`, unless NULL, is removed. */
struct sim_name_change {
    struct sim_name_change *next;
    uint64_t sequence;
    bool synced;
    char *from;
    char *to;
    struct sim_node *node;
};

struct sim_disk {
    struct sim_node *nodes;
    struct sim_names seen;
    struct sim_names durable;
    struct sim_name_change *name_changes; /* oldest first */
    uint64_t sequence;
};

void *sim_alloc(size_t size);
/* A copy without slashes at the end; "" for ".". */
char *sim_path(const char *path);
uint64_t sim_random(uint64_t *state);

struct sim_node *sim_find(const struct sim_names *names, const char *path);
/* True for the root, too. */
bool sim_is_folder(const struct sim_names *names, const char *path);
/* True when the path lies directly in the folder. */
bool sim_is_in(const char *path, const char *folder);
/* The folder a path lies in; ends with free. */
char *sim_parent(const char *path);

struct sim_node *sim_create_node(struct sim_disk *disk, bool folder);
/* Both record a change and show it; `now` false only records it. */
void sim_write(struct sim_disk *disk, struct sim_node *node, struct dbk_slice bytes,
               uint64_t offset, bool now);
void sim_truncate(struct sim_disk *disk, struct sim_node *node, uint64_t size, bool now);
void sim_name(struct sim_disk *disk, const char *from, const char *to, struct sim_node *node,
              bool now);

/* A sync that succeeded, or failed. */
void sim_sync_node(struct sim_node *node, bool success);
void sim_sync_names(struct sim_disk *disk, const char *folder);

void sim_crash(struct sim_disk *disk, enum dbk_sim_keep data, enum dbk_sim_keep names,
               uint64_t seed);
/* An empty disk becomes a copy of what another one shows. */
void sim_copy(struct sim_disk *disk, const struct sim_disk *source);
void sim_release(struct sim_disk *disk);

#endif
