/* SPDX-License-Identifier: Apache-2.0 */
/*
 * portable_fuzz -- in any bytes, taken as a schema and as a query of either database, each word
 * that is found stands in a line of the text, and has something to write instead; never a crash.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "book/portable.h"

static void scan(struct dbk_slice text, enum dbk_dialect dialect, bool schema)
{
    struct dbk_diagnostics faults;
    unsigned lines = 1;
    for (size_t i = 0; i < text.size; i++)
        lines += text.data[i] == '\n';
    dbk_diagnostics_init(&faults);
    if (dbk_portable_words(&(struct dbk_portable_text){.file = "f",
                                                       .text = text,
                                                       .line = 3,
                                                       .dialect = dialect,
                                                       .schema = schema,
                                                       .query = !schema},
                           &faults, NULL) != DBK_OK)
        abort();
    for (size_t i = 0; i < faults.count; i++) {
        const struct dbk_diagnostic *item = &faults.items[i];
        if (item->line < 3 || item->line > lines + 2 || item->column == 0 || item->fix[0] == '\0')
            abort();
    }
    dbk_diagnostics_release(&faults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_slice text = dbk_slice(data, size);
    scan(text, DBK_DIALECT_SQLITE, false);
    scan(text, DBK_DIALECT_SQLITE, true);
    scan(text, DBK_DIALECT_POSTGRES, false);
    scan(text, DBK_DIALECT_POSTGRES, true);
    return 0;
}
