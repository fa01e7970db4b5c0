/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rule -- a subschema as it is applied, and the registry, shared by this room's sources.
 *
 * compile.c makes a rule of each subschema, reference.c joins those that `$ref` names, paths.c
 * finds the fields that `x-…` names, validate.c applies rules to data, and compare.c to each other.
 *
 * Threads: read-only once finished.
 */
#ifndef DBK_SCHEMA_RULE_H
#define DBK_SCHEMA_RULE_H

#include "base/fault.h"
#include "schema/format.h"
#include "schema/pattern.h"
#include "schema/schema.h"

/* Types as bits; DBK_TYPE_NUMBER is that of numbers with a fraction, integers have their own. */
enum dbk_type_bit {
    DBK_TYPE_NULL = 1 << 0,
    DBK_TYPE_BOOLEAN = 1 << 1,
    DBK_TYPE_INTEGER = 1 << 2,
    DBK_TYPE_FRACTION = 1 << 3,
    DBK_TYPE_STRING = 1 << 4,
    DBK_TYPE_ARRAY = 1 << 5,
    DBK_TYPE_OBJECT = 1 << 6,
    DBK_TYPE_NUMBER = DBK_TYPE_INTEGER | DBK_TYPE_FRACTION,
    DBK_TYPE_ANY = (1 << 7) - 1,
};

struct dbk_rule;

struct dbk_rule_list {
    const struct dbk_rule **items;
    size_t count;
};
struct dbk_name_list {
    const struct dbk_slice *items;
    size_t count;
};
/* Members that a rule knows, by (size, bytes) of their names. */
struct dbk_property {
    struct dbk_slice name;
    struct dbk_rule *rule;
    bool required;
};
struct dbk_pattern_property {
    const struct dbk_pattern *pattern;
    struct dbk_rule *rule;
};
struct dbk_dependency {
    struct dbk_slice name;         /* where this member is … */
    struct dbk_name_list required; /* … these must be, too */
    struct dbk_rule *rule;         /* … or this must fit */
};
struct dbk_bound {
    bool set;
    struct dbk_decimal value;
};
#define DBK_COUNT_MAX UINT64_MAX

struct dbk_rule {
    const struct dbk_json_node *source;
    const char *pointer; /* from the version's schema: "/properties/lines/items" */
    bool never;          /* the schema `false` */
    unsigned types;      /* enum dbk_type_bit */
    const struct dbk_json_node *constant;
    const struct dbk_json_node *values; /* of `enum` */
    struct dbk_bound minimum;
    struct dbk_bound maximum;
    struct dbk_bound minimum_exclusive;
    struct dbk_bound maximum_exclusive;
    struct dbk_bound multiple;
    uint64_t length_min; /* code points */
    uint64_t length_max;
    const struct dbk_pattern *pattern;
    enum dbk_format format;
    uint64_t items_min;
    uint64_t items_max;
    bool unique;
    struct dbk_rule_list prefix;
    const struct dbk_rule *items;
    const struct dbk_rule *contains;
    uint64_t contains_min;
    uint64_t contains_max;
    const struct dbk_rule *items_unevaluated;
    uint64_t members_min;
    uint64_t members_max;
    struct dbk_name_list required;
    size_t required_known; /* those of them that `properties` names */
    struct dbk_property *properties;
    size_t property_count;
    struct dbk_pattern_property *patterns;
    size_t pattern_count;
    const struct dbk_rule *additional;
    const struct dbk_rule *names;
    const struct dbk_rule *members_unevaluated;
    struct dbk_dependency *dependencies;
    size_t dependency_count;
    const struct dbk_json_node *reference; /* `$ref`, until it is joined */
    const struct dbk_rule *referred;
    struct dbk_rule_list all_of;
    struct dbk_rule_list any_of;
    struct dbk_rule_list one_of;
    const struct dbk_rule *not_rule;
    const struct dbk_rule *if_rule;
    const struct dbk_rule *then_rule;
    const struct dbk_rule *else_rule;
    bool in_place; /* one of those from `referred` on, or a dependency, is there */
    bool personal;
    const struct dbk_json_node *personal_node;
    unsigned mark;   /* of a walk over rules */
    unsigned height; /* of the longest chain of rules that apply in place, this one included */
};

/* A tag: texts and fields, one behind the other. */
struct dbk_tag_part {
    struct dbk_slice text;        /* where it is no field */
    struct dbk_schema_path field; /* count 0: none */
};
struct dbk_tag_template {
    struct dbk_slice source; /* "customer:{customer_id}" */
    const struct dbk_tag_part *parts;
    size_t count;
};

struct dbk_schema {
    const struct dbk_type *type;
    uint16_t version;
    const struct dbk_json_node *node;   /* {"version": …} */
    const struct dbk_json_node *source; /* its schema */
    const struct dbk_rule *root;
    struct dbk_rule *
        *rules; /* by index of their node, from source; NULL: no subschema begins here */
    const struct dbk_json_node *subject_node;
    const struct dbk_json_node *tags_node;
    const struct dbk_schema_path *personal;
    size_t personal_count;
    const struct dbk_schema_path *subject;
    const struct dbk_tag_template *tags;
    size_t tag_count;
    const struct dbk_json_node *upcast_node;
    const struct dbk_upcast_step *upcast;
    size_t upcast_count;
    bool is_program; /* `upcast` is "program" */
    const struct dbk_schema_script *script;
};

struct dbk_type {
    const char *name;
    const char *file;
    struct dbk_slice source;
    struct dbk_schema *versions;
    size_t count;
    bool faulty;
    uint8_t fingerprint[DBK_SCHEMA_FINGERPRINT_SIZE];
};

struct dbk_type_script {
    const char *type;
    uint16_t version;
    struct dbk_schema_script script;
    bool used;
};

struct dbk_schemas {
    struct dbk_arena arena;
    struct dbk_json *json; /* while files are read */
    struct dbk_patterns *patterns;
    struct dbk_type **types; /* sorted by name once finished */
    size_t type_count;
    size_t type_capacity;
    struct dbk_type_script *scripts;
    size_t script_count;
    size_t script_capacity;
    uint32_t *slots; /* a hash table of indices + 1 into types; a power of two of them */
    uint32_t slot_mask;
};

/* A file while it is read. */
struct dbk_schema_reading {
    struct dbk_schemas *schemas;
    struct dbk_type *type;
    struct dbk_schema *schema; /* the version at hand */
    struct dbk_diagnostics *faults;
    size_t rule_count;
};

/* Where a fault is: at a value, or at the key of a member. */
struct dbk_fault dbk_schema_fault_at(const struct dbk_schema_reading *reading,
                                     const struct dbk_json_node *node);
struct dbk_fault dbk_schema_fault_at_key(const struct dbk_schema_reading *reading,
                                         const struct dbk_json_node *member);
/* "a text", "an object": for messages. */
const char *dbk_schema_kind(const struct dbk_json_node *node);
/* Reads "a.b", and "a[].b" with elements; false: it is none. *rc: DBK_ENOMEM. */
bool dbk_schema_parse_path(struct dbk_arena *arena, struct dbk_slice text, bool elements,
                           struct dbk_schema_path *path_out, int *rc);

/* Each answers DBK_OK or DBK_ENOMEM; faults go to the list. */
int dbk_schema_compile(struct dbk_schema_reading *reading) DBK_MUST_CHECK;
int dbk_schema_join(struct dbk_schema_reading *reading) DBK_MUST_CHECK;
int dbk_schema_find_paths(struct dbk_schema_reading *reading) DBK_MUST_CHECK;
int dbk_schema_read_upcast(struct dbk_schema_reading *reading) DBK_MUST_CHECK;
/* Compiles the steps of all versions: those that cannot be done are faults. */
int dbk_schema_check_steps(struct dbk_type *type, struct dbk_diagnostics *faults) DBK_MUST_CHECK;

/* Calls for each rule that applies to the same value as this one; negative ends it. */
typedef int (*dbk_rule_fn)(void *context, const struct dbk_rule *rule);
int dbk_rule_each_in_place(const struct dbk_rule *rule, dbk_rule_fn each, void *context);

/* The rule's property of this name; NULL: none. */
const struct dbk_property *dbk_rule_property(const struct dbk_rule *rule, struct dbk_slice name);

/* 1: the value fits the rule; 0: not; DBK_ELIMIT, DBK_ENOMEM. */
int dbk_rule_fits(const struct dbk_rule *rule, const struct dbk_json_node *value) DBK_MUST_CHECK;

/* JSON's equality: numbers by value, members in any order. */
bool dbk_json_equal(const struct dbk_json_node *a, const struct dbk_json_node *b);
/* The same for all equal values. */
uint64_t dbk_json_hash(const struct dbk_json_node *node);
/* The number of a node; false: it is none. */
bool dbk_json_number(const struct dbk_json_node *node, struct dbk_decimal *value_out);

#endif
