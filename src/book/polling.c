/* SPDX-License-Identifier: Apache-2.0 */
/* How a table of a service is polled. */
#include "book/polling.h"

#define SECOND_US (INT64_C(1) * 1000000)

struct polling_reading {
    struct dbk_book_loader *loader;
    const char *file;
    const struct dbk_yaml_node *const *nodes;
    struct dbk_capture_polling *polling;
};

static int add(struct polling_reading *reading, const struct dbk_yaml_node *node, const char *why,
               const char *fix, const char *what)
{
    struct dbk_fault fault = dbk_settings_fault(reading->file, node);
    fault.why = why;
    fault.fix = fix;
    return dbk_fault_add(reading->loader->faults, &fault, "%s", what);
}

int dbk_book_take_duration(struct dbk_book_loader *loader, const char *file,
                           const struct dbk_yaml_node *node, int64_t *duration_us)
{
    int64_t given_us = 0;
    if (node == NULL)
        return DBK_OK;
    if (dbk_duration_parse(node->text, &given_us) && given_us > 0) {
        *duration_us = given_us;
        return DBK_OK;
    }
    struct dbk_fault fault = dbk_settings_fault(file, node);
    fault.fix = "write a number and a unit: `1 s`, `250 ms`, `5 minutes`";
    return dbk_fault_add(loader->faults, &fault, "\"%s\" is no duration", node->text.data);
}

static int take_deletes(struct polling_reading *reading)
{
    const struct dbk_yaml_node *node = reading->nodes[DBK_POLLING_DELETES];
    const struct dbk_yaml_node *cursor = reading->nodes[DBK_POLLING_CURSOR];
    const char *const fix = "write `deletes: compare`, or `deletes: none` where none are deleted";
    if (node == NULL && reading->polling->deleted == NULL && cursor != NULL)
        return add(reading, cursor, "a row that is gone has no cursor",
                   "add `deleted: <column>`, `deletes: compare`, or `deletes: none` where rows are "
                   "never deleted",
                   "`cursor` alone does not see rows that are deleted");
    if (node == NULL) {
        reading->polling->deletes =
            reading->polling->deleted == NULL ? DBK_DELETES_COMPARE : DBK_DELETES_NONE;
        return DBK_OK;
    }
    if (strcmp(node->text.data, "compare") == 0)
        reading->polling->deletes = DBK_DELETES_COMPARE;
    else if (strcmp(node->text.data, "none") != 0)
        return add(reading, node, NULL, fix, "`deletes` is `compare` or `none`");
    return DBK_OK;
}

static int check_pairs(struct polling_reading *reading, bool cdc)
{
    static const char *const texts[DBK_POLLING_KEY_COUNT] = {
        "`every` belongs to polling",        "`key` belongs to polling",
        "`cursor` belongs to polling",       "`overlap` belongs to polling",
        "`deleted` belongs to polling",      "`deletes` belongs to polling",
        "`compare_every` belongs to polling"};
    const struct dbk_yaml_node *const *nodes = reading->nodes;
    int rc = DBK_OK;
    for (size_t i = 0; cdc && i < DBK_POLLING_KEY_COUNT && rc == DBK_OK; i++) {
        if (nodes[i] != NULL)
            rc = add(reading, nodes[i], "with `capture: cdc` the database tells its changes",
                     "leave it out, or write `capture: polling`", texts[i]);
    }
    if (rc == DBK_OK && !cdc && nodes[DBK_POLLING_OVERLAP] != NULL &&
        nodes[DBK_POLLING_CURSOR] == NULL)
        rc = add(reading, nodes[DBK_POLLING_OVERLAP], "the whole table is compared",
                 "name the `cursor`, or leave it out", "`overlap` stands without `cursor`");
    if (rc == DBK_OK && !cdc && nodes[DBK_POLLING_COMPARE_EVERY] != NULL &&
        reading->polling->deletes != DBK_DELETES_COMPARE)
        rc = add(reading, nodes[DBK_POLLING_COMPARE_EVERY], "no keys are compared",
                 "write `deletes: compare`, or leave it out",
                 "`compare_every` stands without `deletes: compare`");
    return rc;
}

int dbk_book_take_polling(struct dbk_book_loader *loader, const char *file,
                          const struct dbk_yaml_node *const nodes[DBK_POLLING_KEY_COUNT], bool cdc,
                          struct dbk_capture_polling *polling_out)
{
    struct polling_reading reading = {loader, file, nodes, polling_out};
    *polling_out = (struct dbk_capture_polling){.every_us = SECOND_US, .overlap_us = 5 * SECOND_US};
    if (nodes[DBK_POLLING_KEY] != NULL)
        polling_out->key = nodes[DBK_POLLING_KEY]->text.data;
    if (nodes[DBK_POLLING_CURSOR] != NULL) {
        polling_out->cursor = nodes[DBK_POLLING_CURSOR]->text.data;
        polling_out->compare_every_us = 60 * SECOND_US;
    }
    if (nodes[DBK_POLLING_DELETED] != NULL)
        polling_out->deleted = nodes[DBK_POLLING_DELETED]->text.data;
    int rc = dbk_book_take_duration(loader, file, nodes[DBK_POLLING_EVERY], &polling_out->every_us);
    if (rc == DBK_OK)
        rc = dbk_book_take_duration(loader, file, nodes[DBK_POLLING_OVERLAP],
                                    &polling_out->overlap_us);
    if (rc == DBK_OK)
        rc = dbk_book_take_duration(loader, file, nodes[DBK_POLLING_COMPARE_EVERY],
                                    &polling_out->compare_every_us);
    if (rc == DBK_OK && !cdc)
        rc = take_deletes(&reading);
    return rc == DBK_OK ? check_pairs(&reading, cdc) : rc;
}
