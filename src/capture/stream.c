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

static int hex(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

static int take_part(struct dbk_slice text, struct dbk_arena *arena, struct dbk_slice *part_out)
{
    char *bytes = dbk_arena_alloc(arena, text.size + 1);
    size_t size = 0;
    if (bytes == NULL)
        return DBK_ENOMEM;
    for (size_t i = 0; i < text.size; i++) {
        bytes[size++] = text.data[i];
        if (text.data[i] != '%')
            continue;
        if (i + 2 >= text.size || hex(text.data[i + 1]) < 0 || hex(text.data[i + 2]) < 0)
            return DBK_ECORRUPT;
        bytes[size - 1] = (char)(hex(text.data[i + 1]) << 4 | hex(text.data[i + 2]));
        i += 2;
    }
    bytes[size] = 0;
    *part_out = dbk_slice(bytes, size);
    return DBK_OK;
}

int dbk_capture_take_key(struct dbk_slice text, struct dbk_arena *arena, struct dbk_slice *key_out,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *comma = text.size == 0 ? NULL : memchr(text.data, ',', text.size);
        bool last = i + 1 == count;
        if (last != (comma == NULL))
            return DBK_ECORRUPT;
        size_t size = last ? text.size : (size_t)(comma - text.data);
        int rc = take_part(dbk_slice(text.data, size), arena, &key_out[i]);
        if (rc < 0)
            return rc;
        if (!last)
            text = dbk_slice(comma + 1, text.size - size - 1);
    }
    return DBK_OK;
}
