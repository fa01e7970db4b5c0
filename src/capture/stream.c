/* SPDX-License-Identifier: Apache-2.0 */
/* What a captured row is called. */
#include "capture/capture.h"

const struct dbk_capture_table *dbk_capture_table(const struct dbk_capture_service *service,
                                                  struct dbk_slice name)
{
    for (size_t i = 0; i < service->table_count; i++) {
        if (dbk_slice_equal_text(name, service->tables[i].name))
            return &service->tables[i];
    }
    return NULL;
}

static void put_part(struct dbk_slice text, struct dbk_buf *out)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char byte = (unsigned char)text.data[i];
        if (byte == '%' || byte == ',' || byte < 0x20 || byte == 0x7f)
            dbk_buf_append_format(out, "%%%02X", byte);
        else
            dbk_buf_append_char(out, text.data[i]);
    }
}

void dbk_capture_put_stream(struct dbk_slice service, struct dbk_slice table,
                            const struct dbk_slice *key, size_t count, struct dbk_buf *out)
{
    dbk_buf_append(out, service);
    dbk_buf_append_char(out, '.');
    dbk_buf_append(out, table);
    dbk_buf_append_char(out, '-');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            dbk_buf_append_char(out, ',');
        put_part(key[i], out);
    }
}
