/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view_fuzz -- the head of any file is read as a view's, or each fault has a place and a text.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "view/view.h"

static void check_faults(const struct dbk_diagnostics *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct dbk_diagnostic *item = &list->items[i];
        if (item->what[0] == '\0' || (item->line == 0) != (item->column == 0))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_arena arena;
    struct dbk_diagnostics faults;
    struct dbk_view_definition view = {0};
    struct dbk_error err = {0};
    dbk_arena_init(&arena, 1 << 20);
    dbk_diagnostics_init(&faults);
    int rc = dbk_view_parse("v", "views/v.sql", dbk_slice(data, size), "reading", &arena, &view,
                            &faults, &err);
    if (rc < 0 && err.message[0] == '\0' && faults.error_count == 0)
        abort();
    if (rc == DBK_OK && faults.error_count == 0 && view.database == NULL)
        abort();
    for (size_t i = 0; rc == DBK_OK && faults.error_count == 0 && i < view.alert_count; i++) {
        const struct dbk_alert_definition *alert = &view.alerts[i];
        if (alert->name == NULL || alert->when.size == 0 ||
            (alert->url == NULL) == (alert->words == NULL))
            abort();
    }
    check_faults(&faults);
    dbk_diagnostics_release(&faults);
    dbk_arena_release(&arena);
    return 0;
}
