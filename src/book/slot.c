/* SPDX-License-Identifier: Apache-2.0 */
/* How a service's replication slot is looked after. */
#include "book/polling.h"

#define EVERY_US (INT64_C(10) * 1000000)
/* What a server keeps anyway: some segments of its log, of 16 MiB each. */
#define STOP_SIZE_MIN ((uint64_t)64 << 20)

enum slot_key { SLOT_WARN, SLOT_STOP, SLOT_EVERY, SLOT_KEY_COUNT };
static const struct dbk_setting slot_keys[SLOT_KEY_COUNT] = {
    [SLOT_WARN] = {"warn", DBK_YAML_SCALAR, false, NULL, "write a size: `warn: 4 GiB`"},
    [SLOT_STOP] = {"stop", DBK_YAML_SCALAR, false, NULL, "write a size: `stop: 50 GiB`"},
    [SLOT_EVERY] = {"every", DBK_YAML_SCALAR, false, NULL, "write a duration: `every: 10 s`"},
};

static int add(struct dbk_book_loader *loader, const char *file, const struct dbk_yaml_node *node,
               const char *fix, const char *what)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    fault.fix = fix;
    return dbk_fault_add(loader->faults, &fault, "%s", what);
}

static int take_size(struct dbk_book_loader *loader, const char *file,
                     const struct dbk_yaml_node *node, const char *fix, uint64_t *size_out)
{
    uint64_t size = 0;
    struct dbk_fault fault = {0};
    if (node == NULL)
        return DBK_OK;
    if (dbk_book_parse_size(node->text, &size) && size > 0) {
        *size_out = size;
        return DBK_OK;
    }
    fault = dbk_settings_fault(file, node);
    fault.fix = fix;
    return dbk_fault_add(loader->faults, &fault, "\"%s\" is no size", node->text.data);
}

static int check(struct dbk_book_loader *loader, const char *file,
                 const struct dbk_yaml_node *const nodes[SLOT_KEY_COUNT],
                 const struct dbk_capture_slot *slot)
{
    if (slot->stop_size == 0)
        return DBK_OK;
    if (slot->stop_size < STOP_SIZE_MIN)
        return add(loader, file, nodes[SLOT_STOP], "choose 64 MiB or more",
                   "a server keeps as much as `stop` for a slot that is not behind");
    if (slot->warn_size >= slot->stop_size)
        return add(loader, file, nodes[SLOT_WARN], "choose one that is less than `stop`",
                   "`warn` would come after `stop`");
    return DBK_OK;
}

int dbk_book_take_slot(struct dbk_book_loader *loader, const char *file,
                       const struct dbk_yaml_node *mapping, struct dbk_capture_service *service)
{
    const struct dbk_yaml_node *nodes[SLOT_KEY_COUNT] = {NULL};
    struct dbk_capture_slot *slot = &service->slot;
    *slot = (struct dbk_capture_slot){.every_us = EVERY_US};
    if (mapping == NULL)
        return DBK_OK;
    if (service->address != NULL && dbk_target_dialect(service->address) != DBK_DIALECT_POSTGRES)
        return add(loader, file, mapping, "leave it out",
                   "`slot` is for a service whose database is PostgreSQL");
    int rc = dbk_settings_read(loader, file, mapping, slot_keys, SLOT_KEY_COUNT, nodes);
    if (rc == DBK_OK)
        rc = take_size(loader, file, nodes[SLOT_WARN], slot_keys[SLOT_WARN].fix, &slot->warn_size);
    if (rc == DBK_OK)
        rc = take_size(loader, file, nodes[SLOT_STOP], slot_keys[SLOT_STOP].fix, &slot->stop_size);
    if (rc == DBK_OK)
        rc = dbk_book_take_duration(loader, file, nodes[SLOT_EVERY], &slot->every_us);
    return rc == DBK_OK ? check(loader, file, nodes, slot) : rc;
}
