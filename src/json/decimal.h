/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decimal -- exact decimal numbers: coefficient x 10^exponent.
 *
 * What a JSON number with a fraction means, without binary floating point: 0.1 + 0.2 is 0.3. Sums
 * and products are exact or refused (false), never rounded; rounding is asked for by name. Values
 * are kept normal: no trailing zeros in the coefficient, zero is 0 x 10^0.
 *
 * Threads: pure functions.
 */
#ifndef DBK_JSON_DECIMAL_H
#define DBK_JSON_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define DBK_DECIMAL_EXPONENT_MAX 400
/* Room for any value's text and its NUL. */
#define DBK_DECIMAL_TEXT_SIZE 440

struct dbk_decimal {
    int64_t coefficient;
    int32_t exponent; /* -DBK_DECIMAL_EXPONENT_MAX to DBK_DECIMAL_EXPONENT_MAX */
};

/* Reads "-12.50", "1e3"; false when it is no JSON number or does not fit. */
bool dbk_decimal_parse(struct dbk_slice text, struct dbk_decimal *value_out);
/* Plain notation ("0.0015"), with an exponent only past 30 digits; returns the size. */
size_t dbk_decimal_format(struct dbk_decimal value, char text_out[DBK_DECIMAL_TEXT_SIZE]);
struct dbk_decimal dbk_decimal_of(int64_t value);
/* False when the exact result does not fit. */
bool dbk_decimal_add(struct dbk_decimal a, struct dbk_decimal b, struct dbk_decimal *value_out);
bool dbk_decimal_subtract(struct dbk_decimal a, struct dbk_decimal b,
                          struct dbk_decimal *value_out);
bool dbk_decimal_multiply(struct dbk_decimal a, struct dbk_decimal b,
                          struct dbk_decimal *value_out);
/*
 * a / b to `places` digits behind the point, half to even; false when b is zero or it does not fit.
 */
bool dbk_decimal_divide(struct dbk_decimal a, struct dbk_decimal b, int places,
                        struct dbk_decimal *value_out);
/* To `places` digits behind the point (may be negative), half to even. */
bool dbk_decimal_round(struct dbk_decimal value, int places, struct dbk_decimal *value_out);
/* True when a is a whole number of times b, exactly; false when b is zero. */
bool dbk_decimal_is_multiple(struct dbk_decimal a, struct dbk_decimal b);
int dbk_decimal_compare(struct dbk_decimal a, struct dbk_decimal b);
double dbk_decimal_to_double(struct dbk_decimal value);
/* False when it is not whole or does not fit. */
bool dbk_decimal_to_i64(struct dbk_decimal value, int64_t *value_out);

#endif
