/* SPDX-License-Identifier: Apache-2.0 */
#include "json/json.h"
#include "target/target.h"

void dbk_value_write_json(struct dbk_buf *out, const struct dbk_value *value)
{
    static const char digits[] = "0123456789abcdef";
    switch (value->kind) {
    case DBK_VALUE_NULL:
        dbk_buf_append_text(out, "null");
        break;
    case DBK_VALUE_INTEGER:
        dbk_json_write_integer(out, value->integer);
        break;
    case DBK_VALUE_REAL:
        dbk_json_write_double(out, value->real);
        break;
    case DBK_VALUE_DECIMAL:
        dbk_json_write_decimal(out, value->decimal);
        break;
    case DBK_VALUE_TEXT:
        if (dbk_slice_is_utf8(value->bytes)) {
            dbk_json_write_string(out, value->bytes);
            break;
        }
        __attribute__((fallthrough));
    case DBK_VALUE_BLOB:
        dbk_buf_append_text(out, "\"\\\\x");
        for (size_t i = 0; i < value->bytes.size; i++) {
            dbk_buf_append_char(out, digits[(uint8_t)value->bytes.data[i] >> 4]);
            dbk_buf_append_char(out, digits[(uint8_t)value->bytes.data[i] & 15]);
        }
        dbk_buf_append_char(out, '"');
        break;
    }
}
