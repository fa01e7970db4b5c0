/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yaml -- a settings file as a small tree, each node with its place.
 *
 * What settings need and no more: mappings, sequences and scalars. Anchors, aliases, tags, further
 * documents, keys that stand twice, and nesting past 16 levels are faults, as are NUL bytes and
 * what is no UTF-8. libyaml delivers the events; the tree is ours.
 *
 * Threads: pure functions on the given arena and list.
 * Source:  YAML 1.1; libyaml's yaml.h.
 */
#ifndef DBK_BOOK_YAML_H
#define DBK_BOOK_YAML_H

#include "base/diagnostics.h"

#define DBK_YAML_DEPTH_MAX 16
#define DBK_YAML_NODES_MAX 10000

enum dbk_yaml_kind {
    DBK_YAML_SCALAR,
    DBK_YAML_SEQUENCE,
    DBK_YAML_MAPPING,
    DBK_YAML_REFUSED, /* stood for an alias, which is reported already */
};

struct dbk_yaml_node {
    enum dbk_yaml_kind kind;
    unsigned line;
    unsigned column;
    struct dbk_slice text;           /* a scalar's, with a NUL behind it */
    bool plain;                      /* a scalar without quotes */
    const struct dbk_yaml_node *key; /* in a mapping: the key this is the value of */
    struct dbk_yaml_node *first;     /* a mapping's values or a sequence's items */
    struct dbk_yaml_node *next;      /* the next of them */
};

/*
 * Parses a file. root_out is in the arena; NULL when the file is empty or cannot be read as a tree
 * (then its faults are in the list).
 */
int dbk_yaml_parse(const char *file, struct dbk_slice text, struct dbk_arena *arena,
                   struct dbk_diagnostics *diagnostics,
                   const struct dbk_yaml_node **root_out) DBK_MUST_CHECK;

/* A mapping's value by key; NULL when there is none. */
const struct dbk_yaml_node *dbk_yaml_find(const struct dbk_yaml_node *mapping, const char *key);

/* True for what YAML calls null: nothing at all, `~`, `null`. */
bool dbk_yaml_is_null(const struct dbk_yaml_node *node);

/* "a mapping", "a list", "a text": for messages. */
const char *dbk_yaml_kind_text(const struct dbk_yaml_node *node);

#endif
