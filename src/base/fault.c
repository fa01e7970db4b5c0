/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"

#include <stdarg.h>

int dbk_fault_add(struct dbk_diagnostics *list, const struct dbk_fault *fault, const char *format,
                  ...)
{
    struct dbk_error what;
    va_list arguments;
    va_start(arguments, format);
    dbk_error_set_va(&what, DBK_EBOOK, format, arguments);
    va_end(arguments);
    const struct dbk_diagnostic item = {.file = fault->file,
                                        .line = fault->line,
                                        .column = fault->column,
                                        .warning = fault->warning,
                                        .what = what.message,
                                        .why = fault->why == NULL ? "" : fault->why,
                                        .fix = fault->fix == NULL ? "" : fault->fix};
    return dbk_diagnostics_add(list, &item);
}

int dbk_fault_suggest(struct dbk_diagnostics *list, const char *name, const char *const *candidates,
                      size_t count, const char *fallback, const char **fix_out)
{
    const char *closest = dbk_closest_name(name, candidates, count);
    const char *fix = fallback;
    if (closest != NULL) {
        fix = dbk_arena_format(&list->arena, "did you mean `%s`?", closest);
        if (fix == NULL)
            return DBK_ENOMEM;
    }
    *fix_out = fix;
    return DBK_OK;
}

void dbk_fault_place(struct dbk_fault *fault, struct dbk_slice text, size_t offset)
{
    dbk_text_place(text, offset, &fault->line, &fault->column);
}

/* Where the first byte is that belongs to no character. */
static size_t good_size(struct dbk_slice text)
{
    size_t good = 0;
    while (good < text.size) {
        size_t size = 1;
        while (size <= 4 && good + size <= text.size &&
               !dbk_slice_is_utf8(dbk_slice(text.data + good, size)))
            size++;
        if (size > 4 || good + size > text.size)
            break;
        good += size;
    }
    return good;
}

int dbk_fault_check_text(struct dbk_diagnostics *list, const char *file, struct dbk_slice text,
                         bool *good_out)
{
    struct dbk_fault fault = {.file = file, .fix = "save it as UTF-8 text"};
    const char *nul = text.size == 0 ? NULL : memchr(text.data, '\0', text.size);
    size_t end = nul == NULL ? text.size : (size_t)(nul - text.data);
    *good_out = nul == NULL && dbk_slice_is_utf8(text);
    if (*good_out)
        return DBK_OK;
    size_t good = good_size(dbk_slice(text.data, end));
    dbk_fault_place(&fault, text, good);
    if (good == end)
        return dbk_fault_add(list, &fault, "the file holds a NUL byte");
    return dbk_fault_add(list, &fault, "byte 0x%02X is no UTF-8", (unsigned char)text.data[good]);
}

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

bool dbk_fault_is_name(struct dbk_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        bool digit = text.data[i] >= '0' && text.data[i] <= '9';
        if (!is_letter(text.data[i]) && !(digit && i > 0))
            return false;
    }
    return text.size > 0;
}
