/* SPDX-License-Identifier: Apache-2.0 */
#include "json/decimal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

/* Sums and products are worked out in 128 bits and must come back to 64. */
__extension__ typedef __int128 wide;

#define WIDE_DIGITS_MAX 37

static bool fits(wide value)
{
    return value >= INT64_MIN && value <= INT64_MAX;
}

/* Takes trailing zeros off; false when the rest does not fit. */
static bool normalise(wide coefficient, int64_t exponent, struct dbk_decimal *value_out)
{
    if (coefficient == 0) {
        *value_out = (struct dbk_decimal){0};
        return true;
    }
    while (coefficient % 10 == 0) {
        coefficient /= 10;
        exponent++;
    }
    if (!fits(coefficient) || exponent < -DBK_DECIMAL_EXPONENT_MAX ||
        exponent > DBK_DECIMAL_EXPONENT_MAX)
        return false;
    *value_out =
        (struct dbk_decimal){.coefficient = (int64_t)coefficient, .exponent = (int32_t)exponent};
    return true;
}

/* value x 10^digits, false when it does not fit 128 bits with room for a sum. */
static bool scale(wide *value, int64_t digits)
{
    if (*value == 0)
        return true;
    if (digits > WIDE_DIGITS_MAX)
        return false;
    for (; digits > 0; digits--) {
        if (__builtin_mul_overflow(*value, (wide)10, value))
            return false;
    }
    return true;
}

struct dbk_decimal dbk_decimal_of(int64_t value)
{
    struct dbk_decimal result = {0};
    bool whole = normalise(value, 0, &result);
    dbk_assert(whole);
    return result;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Adds the digits at *at to the coefficient; -1 when it grows past 64 bits, else their number. */
static int64_t take_digits(struct dbk_slice text, size_t *at, wide *coefficient, int64_t *zeros)
{
    int64_t count = 0;
    for (; *at < text.size && is_digit(text.data[*at]); (*at)++, count++) {
        /* Zeros are held back, so that "1000…0" is short. */
        if (text.data[*at] == '0') {
            if (*coefficient != 0)
                (*zeros)++;
            continue;
        }
        if (!scale(coefficient, *zeros + 1))
            return -1;
        *zeros = 0;
        *coefficient += text.data[*at] - '0';
        if (*coefficient > (wide)INT64_MAX + 1) /* The sign is seen to later. */
            return -1;
    }
    return count;
}

static bool take_exponent(struct dbk_slice text, size_t *at, int64_t *exponent)
{
    if (*at >= text.size || (text.data[*at] != 'e' && text.data[*at] != 'E'))
        return true;
    (*at)++;
    bool negative = *at < text.size && text.data[*at] == '-';
    if (negative || (*at < text.size && text.data[*at] == '+'))
        (*at)++;
    int64_t written = 0;
    size_t begin = *at;
    for (; *at < text.size && is_digit(text.data[*at]); (*at)++) {
        if (written < 100000)
            written = written * 10 + (text.data[*at] - '0');
    }
    *exponent += negative ? -written : written;
    return *at > begin;
}

bool dbk_decimal_parse(struct dbk_slice text, struct dbk_decimal *value_out)
{
    wide coefficient = 0;
    int64_t zeros = 0;
    size_t at = 0;
    bool negative = text.size > 0 && text.data[0] == '-';
    at += negative;
    bool leading_zero = at < text.size && text.data[at] == '0';
    int64_t whole = take_digits(text, &at, &coefficient, &zeros);
    if (whole <= 0 || (leading_zero && whole > 1))
        return false;
    int64_t exponent = 0;
    if (at < text.size && text.data[at] == '.') {
        at++;
        int64_t fraction = take_digits(text, &at, &coefficient, &zeros);
        if (fraction <= 0)
            return false;
        exponent -= fraction;
    }
    exponent += zeros;
    if (!take_exponent(text, &at, &exponent) || at != text.size)
        return false;
    return normalise(negative ? -coefficient : coefficient, exponent, value_out);
}

size_t dbk_decimal_format(struct dbk_decimal value, char text_out[DBK_DECIMAL_TEXT_SIZE])
{
    char digits[24];
    bool negative = value.coefficient < 0;
    uint64_t magnitude = negative ? 0 - (uint64_t)value.coefficient : (uint64_t)value.coefficient;
    int count = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)magnitude);
    int size = 0;
    if (negative)
        text_out[size++] = '-';
    int point = count + value.exponent; /* digits before the point */
    if (point > 30 || point < -30)
        return (size_t)size + (size_t)snprintf(text_out + size, DBK_DECIMAL_TEXT_SIZE - 1, "%se%d",
                                               digits, value.exponent);
    if (point <= 0) {
        text_out[size++] = '0';
        text_out[size++] = '.';
        for (int i = point; i < 0; i++)
            text_out[size++] = '0';
    }
    for (int i = 0; i < count; i++) {
        if (i == point && i > 0)
            text_out[size++] = '.';
        text_out[size++] = digits[i];
    }
    for (int i = count; i < point; i++)
        text_out[size++] = '0';
    text_out[size] = '\0';
    return (size_t)size;
}

/* Brings both to the smaller exponent. */
static bool align(struct dbk_decimal a, struct dbk_decimal b, wide *a_out, wide *b_out,
                  int64_t *exponent_out)
{
    *a_out = a.coefficient;
    *b_out = b.coefficient;
    *exponent_out = a.exponent < b.exponent ? a.exponent : b.exponent;
    return scale(a_out, a.exponent - *exponent_out) && scale(b_out, b.exponent - *exponent_out);
}

bool dbk_decimal_add(struct dbk_decimal a, struct dbk_decimal b, struct dbk_decimal *value_out)
{
    wide left;
    wide right;
    int64_t exponent;
    if (a.coefficient == 0 || b.coefficient == 0) {
        *value_out = a.coefficient == 0 ? b : a;
        return true;
    }
    return align(a, b, &left, &right, &exponent) && !__builtin_add_overflow(left, right, &left) &&
           normalise(left, exponent, value_out);
}

bool dbk_decimal_subtract(struct dbk_decimal a, struct dbk_decimal b, struct dbk_decimal *value_out)
{
    struct dbk_decimal negated;
    return normalise(-(wide)b.coefficient, b.exponent, &negated) &&
           dbk_decimal_add(a, negated, value_out);
}

bool dbk_decimal_multiply(struct dbk_decimal a, struct dbk_decimal b, struct dbk_decimal *value_out)
{
    return normalise((wide)a.coefficient * b.coefficient, (int64_t)a.exponent + b.exponent,
                     value_out);
}

/* numerator / denominator to the nearest whole, half to even. */
static wide divide_even(wide numerator, wide denominator)
{
    wide quotient = numerator / denominator;
    wide rest = numerator % denominator;
    wide double_rest = (rest < 0 ? -rest : rest) * 2;
    wide size = denominator < 0 ? -denominator : denominator;
    if (double_rest > size || (double_rest == size && quotient % 2 != 0))
        quotient += (numerator < 0) == (denominator < 0) ? 1 : -1;
    return quotient;
}

bool dbk_decimal_divide(struct dbk_decimal a, struct dbk_decimal b, int places,
                        struct dbk_decimal *value_out)
{
    if (b.coefficient == 0)
        return false;
    /* a / b x 10^places, as one fraction of whole numbers. */
    int64_t shift = (int64_t)a.exponent - b.exponent + places;
    wide numerator = a.coefficient;
    wide denominator = b.coefficient;
    if (shift >= 0 ? !scale(&numerator, shift) : !scale(&denominator, -shift))
        return false;
    if (numerator > ((wide)1 << 125) || numerator < -((wide)1 << 125) ||
        denominator > ((wide)1 << 125) || denominator < -((wide)1 << 125))
        return false;
    return normalise(divide_even(numerator, denominator), -(int64_t)places, value_out);
}

bool dbk_decimal_round(struct dbk_decimal value, int places, struct dbk_decimal *value_out)
{
    int64_t dropped = -(int64_t)places - value.exponent;
    if (dropped <= 0) {
        *value_out = value;
        return true;
    }
    wide divisor = 1;
    if (dropped > 20 || !scale(&divisor, dropped)) {
        *value_out = (struct dbk_decimal){0};
        return true;
    }
    return normalise(divide_even(value.coefficient, divisor), -(int64_t)places, value_out);
}

bool dbk_decimal_is_multiple(struct dbk_decimal a, struct dbk_decimal b)
{
    if (b.coefficient == 0 || a.coefficient == 0)
        return b.coefficient != 0;
    /* Coefficients have no trailing zeros, so a smaller exponent of a cannot be made up for. */
    if (a.exponent < b.exponent)
        return false;
    wide divisor = b.coefficient < 0 ? -(wide)b.coefficient : b.coefficient;
    wide rest = a.coefficient % divisor;
    for (int64_t digits = (int64_t)a.exponent - b.exponent; digits > 0 && rest != 0; digits--)
        rest = rest * 10 % divisor;
    return rest == 0;
}

int dbk_decimal_compare(struct dbk_decimal a, struct dbk_decimal b)
{
    int sign_a = (a.coefficient > 0) - (a.coefficient < 0);
    int sign_b = (b.coefficient > 0) - (b.coefficient < 0);
    if (sign_a != sign_b || sign_a == 0)
        return (sign_a > sign_b) - (sign_a < sign_b);
    wide left;
    wide right;
    int64_t exponent;
    if (align(a, b, &left, &right, &exponent))
        return (left > right) - (left < right);
    /* Too far apart to align: the one with the larger exponent is the larger in size. */
    return (a.exponent > b.exponent ? 1 : -1) * sign_a;
}

double dbk_decimal_to_double(struct dbk_decimal value)
{
    char text[48];
    /* The C library's reading is correctly rounded. */
    (void)snprintf(text, sizeof(text), "%llde%d", (long long)value.coefficient, value.exponent);
    return strtod(text, NULL);
}

bool dbk_decimal_to_i64(struct dbk_decimal value, int64_t *value_out)
{
    wide whole = value.coefficient;
    if (value.exponent < 0 || !scale(&whole, value.exponent) || !fits(whole))
        return false;
    *value_out = (int64_t)whole;
    return true;
}
