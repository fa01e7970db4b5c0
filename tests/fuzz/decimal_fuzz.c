/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decimal_fuzz -- a text that reads as a decimal is written so that it reads as the same one, and
 * arithmetic with it keeps its laws wherever it says that the result fits.
 *
 * The input is two numbers with a space between them, or one.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "json/decimal.h"

static bool equal(struct dbk_decimal a, struct dbk_decimal b)
{
    return a.coefficient == b.coefficient && a.exponent == b.exponent;
}

static void check_text(struct dbk_decimal value)
{
    char text[DBK_DECIMAL_TEXT_SIZE];
    struct dbk_decimal back;
    size_t size = dbk_decimal_format(value, text);
    if (size >= sizeof(text) || text[size] != '\0')
        abort();
    if (!dbk_decimal_parse(dbk_slice(text, size), &back) || !equal(value, back))
        abort();
    if (value.coefficient % 10 == 0 && (value.coefficient != 0 || value.exponent != 0))
        abort();
}

static void check_pair(struct dbk_decimal a, struct dbk_decimal b)
{
    struct dbk_decimal sum;
    struct dbk_decimal other;
    bool fits = dbk_decimal_add(a, b, &sum);
    if (fits != dbk_decimal_add(b, a, &other) || (fits && !equal(sum, other)))
        abort();
    if (fits && dbk_decimal_subtract(sum, b, &other) && !equal(other, a))
        abort();
    fits = dbk_decimal_multiply(a, b, &sum);
    if (fits != dbk_decimal_multiply(b, a, &other) || (fits && !equal(sum, other)))
        abort();
    if (fits)
        check_text(sum);
    int order = dbk_decimal_compare(a, b);
    if ((order == 0) != equal(a, b) || (order > 0) != (dbk_decimal_compare(b, a) < 0))
        abort();
    if (dbk_decimal_divide(a, b, 2, &sum))
        check_text(sum);
    if (dbk_decimal_round(a, 2, &sum))
        check_text(sum);
    (void)dbk_decimal_to_double(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dbk_decimal a;
    struct dbk_decimal b = dbk_decimal_of(3);
    const uint8_t *space = size == 0 ? NULL : memchr(data, ' ', size);
    size_t first = space == NULL ? size : (size_t)(space - data);
    if (!dbk_decimal_parse(dbk_slice(data, first), &a))
        return 0;
    check_text(a);
    if (space != NULL && !dbk_decimal_parse(dbk_slice(space + 1, size - first - 1), &b))
        return 0;
    check_pair(a, b);
    return 0;
}
