/* SPDX-License-Identifier: Apache-2.0 */
/* What all settings files have in common: known keys, each with a value of its type. */
#include "book/loader.h"

#define KEYS_MAX 16

int dbk_settings_open(struct dbk_book_loader *loader, const char *file, struct dbk_slice text,
                      const struct dbk_yaml_node **root_out)
{
    const struct dbk_yaml_node *root = NULL;
    size_t before = loader->faults->error_count;
    int rc = dbk_yaml_parse(file, text, &loader->book->arena, loader->faults, &root);
    *root_out = NULL;
    if (rc < 0)
        return rc;
    if (root != NULL && root->kind == DBK_YAML_MAPPING) {
        *root_out = root;
        return DBK_OK;
    }
    if (loader->faults->error_count > before)
        return DBK_OK;
    struct dbk_fault fault = {
        .file = file, .line = 1, .column = 1, .fix = "write lines of `key: value`"};
    if (root == NULL || dbk_yaml_is_null(root))
        return dbk_fault_add(loader->faults, &fault, "the file holds no settings");
    fault.line = root->line;
    fault.column = root->column;
    return dbk_fault_add(loader->faults, &fault, "the file is %s, not a mapping of settings",
                         dbk_yaml_kind_text(root));
}

struct dbk_fault dbk_settings_fault(const char *file, const struct dbk_yaml_node *node)
{
    return (struct dbk_fault){.file = file, .line = node->line, .column = node->column};
}

static int report_unknown(struct dbk_book_loader *loader, const char *file,
                          const struct dbk_yaml_node *key, const struct dbk_setting *settings,
                          size_t count)
{
    const char *names[KEYS_MAX];
    struct dbk_buf list;
    struct dbk_fault fault = dbk_settings_fault(file, key);
    dbk_buf_init(&list, 1 << 12);
    dbk_buf_append_text(&list, "known here: ");
    for (size_t i = 0; i < count && i < KEYS_MAX; i++) {
        names[i] = settings[i].key;
        dbk_buf_append_format(&list, i == 0 ? "%s" : ", %s", names[i]);
    }
    dbk_buf_append_char(&list, '\0');
    fault.why = "it would do nothing";
    int rc = list.rc < 0 ? DBK_ENOMEM
                         : dbk_fault_suggest(loader->faults, key->text.data, names, count,
                                             list.data, &fault.fix);
    if (rc == DBK_OK)
        rc = dbk_fault_add(loader->faults, &fault, "unknown key `%s`", key->text.data);
    dbk_buf_release(&list);
    return rc;
}

/* Checks a known key's value; *good_out tells whether it may be used. */
static int check_value(struct dbk_book_loader *loader, const char *file,
                       const struct dbk_yaml_node *node, const struct dbk_setting *setting,
                       bool *good_out)
{
    struct dbk_fault fault = dbk_settings_fault(file, node);
    *good_out = false;
    if (node->kind == DBK_YAML_REFUSED)
        return DBK_OK;
    if (dbk_yaml_is_null(node)) {
        fault.fix = "write its value behind the colon, or leave the key out";
        return dbk_fault_add(loader->faults, &fault, "`%s` has no value", setting->key);
    }
    if (node->kind != setting->kind) {
        const struct dbk_yaml_node expected = {.kind = setting->kind};
        fault.fix = setting->fix;
        return dbk_fault_add(loader->faults, &fault, "`%s` is %s, where %s is expected",
                             setting->key, dbk_yaml_kind_text(node),
                             setting->kind == DBK_YAML_SCALAR ? "a text"
                                                              : dbk_yaml_kind_text(&expected));
    }
    *good_out = true;
    return DBK_OK;
}

static int report_missing(struct dbk_book_loader *loader, const char *file,
                          const struct dbk_yaml_node *mapping, const struct dbk_setting *setting)
{
    struct dbk_fault fault = dbk_settings_fault(file, mapping);
    fault.why = setting->why;
    fault.fix = setting->fix;
    return dbk_fault_add(loader->faults, &fault, "`%s` is missing", setting->key);
}

int dbk_settings_read(struct dbk_book_loader *loader, const char *file,
                      const struct dbk_yaml_node *mapping, const struct dbk_setting *settings,
                      size_t count, const struct dbk_yaml_node **nodes_out)
{
    bool seen[KEYS_MAX] = {false};
    int rc = DBK_OK;
    for (size_t i = 0; i < count; i++)
        nodes_out[i] = NULL;
    const struct dbk_yaml_node *node = mapping->first;
    for (; node != NULL && rc == DBK_OK; node = node->next) {
        size_t which = 0;
        bool good = false;
        while (which < count && strcmp(node->key->text.data, settings[which].key) != 0)
            which++;
        if (which == count) {
            rc = report_unknown(loader, file, node->key, settings, count);
            continue;
        }
        seen[which] = true;
        rc = check_value(loader, file, node, &settings[which], &good);
        if (good)
            nodes_out[which] = node;
    }
    for (size_t i = 0; i < count && rc == DBK_OK; i++) {
        if (settings[i].required && !seen[i])
            rc = report_missing(loader, file, mapping, &settings[i]);
    }
    return rc;
}
