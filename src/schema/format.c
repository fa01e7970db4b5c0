/* SPDX-License-Identifier: Apache-2.0 */
#include "schema/format.h"

#include <arpa/inet.h>

#define LABEL_SIZE_MAX 63
#define HOSTNAME_SIZE_MAX 253
#define LOCAL_PART_SIZE_MAX 64

const char *dbk_format_name(enum dbk_format format)
{
    static const char *const names[] = {NULL,
#define NAME(name, wire) wire,
                                        DBK_FORMATS(NAME)
#undef NAME
    };
    return names[format];
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool is_hex(char byte)
{
    return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

/* Reads exactly so many digits off the front. */
static bool take_number(struct dbk_slice *text, size_t digits, unsigned *number_out)
{
    unsigned number = 0;
    if (text->size < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (!is_digit(text->data[i]))
            return false;
        number = number * 10 + (unsigned)(text->data[i] - '0');
    }
    *text = dbk_slice(text->data + digits, text->size - digits);
    *number_out = number;
    return true;
}

static bool take_one_of(struct dbk_slice *text, const char *bytes)
{
    if (text->size == 0 || text->data[0] == '\0' || strchr(bytes, text->data[0]) == NULL)
        return false;
    *text = dbk_slice(text->data + 1, text->size - 1);
    return true;
}

/* RFC 3339, section 5.6: full-date. */
static bool take_date(struct dbk_slice *text)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year = 0;
    unsigned month = 0;
    unsigned day = 0;
    if (!take_number(text, 4, &year) || !take_one_of(text, "-") || !take_number(text, 2, &month) ||
        !take_one_of(text, "-") || !take_number(text, 2, &day) || month < 1 || month > 12)
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day >= 1 && day <= days[month - 1] + (unsigned)(leap && month == 2);
}

/* The offset behind a time, in minutes. */
static bool take_offset(struct dbk_slice *text, int *minutes_out)
{
    *minutes_out = 0;
    if (take_one_of(text, "zZ"))
        return true;
    bool negative = text->size > 0 && text->data[0] == '-';
    unsigned hours = 0;
    unsigned minutes = 0;
    if (!take_one_of(text, "+-") || !take_number(text, 2, &hours) || !take_one_of(text, ":") ||
        !take_number(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *minutes_out = (int)(hours * 60 + minutes) * (negative ? -1 : 1);
    return true;
}

/* full-time; a leap second stands at the end of a day in UTC. */
static bool take_time(struct dbk_slice *text)
{
    unsigned hour = 0;
    unsigned minute = 0;
    unsigned second = 0;
    int offset = 0;
    if (!take_number(text, 2, &hour) || !take_one_of(text, ":") || !take_number(text, 2, &minute) ||
        !take_one_of(text, ":") || !take_number(text, 2, &second) || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    if (take_one_of(text, ".")) {
        if (!take_one_of(text, "0123456789"))
            return false;
        while (take_one_of(text, "0123456789"))
            ;
    }
    if (!take_offset(text, &offset))
        return false;
    int utc = ((int)(hour * 60 + minute) - offset + 2 * 1440) % 1440;
    return second < 60 || utc == 1439;
}

static bool is_date_time(struct dbk_slice text)
{
    return take_date(&text) && take_one_of(&text, "tT") && take_time(&text) && text.size == 0;
}

/* Reads "3Y6M": digits and units in their order; *count_out: how many. */
static bool take_units(struct dbk_slice *text, const char *units, unsigned *count_out)
{
    *count_out = 0;
    while (text->size > 0 && is_digit(text->data[0])) {
        while (take_one_of(text, "0123456789"))
            ;
        const char *unit = text->size == 0 ? NULL : strchr(units, text->data[0]);
        if (unit == NULL || *unit == '\0')
            return false;
        /* RFC 3339, appendix A: no unit between two may be missing. */
        if (*count_out > 0 && unit != units)
            return false;
        units = unit + 1;
        *text = dbk_slice(text->data + 1, text->size - 1);
        (*count_out)++;
    }
    return true;
}

static bool is_duration(struct dbk_slice text)
{
    unsigned date = 0;
    unsigned time = 0;
    if (!take_one_of(&text, "P"))
        return false;
    struct dbk_slice weeks = text;
    if (take_units(&weeks, "W", &date) && date == 1 && weeks.size == 0)
        return true;
    if (!take_units(&text, "YMD", &date))
        return false;
    if (take_one_of(&text, "T") && (!take_units(&text, "HMS", &time) || time == 0))
        return false;
    return text.size == 0 && date + time > 0;
}

static bool is_uuid(struct dbk_slice text)
{
    if (text.size != 36)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text.data[i] != '-' : !is_hex(text.data[i]))
            return false;
    }
    return true;
}

static bool is_address(int family, struct dbk_slice text)
{
    char copy[64];
    unsigned char address[16];
    if (text.size >= sizeof(copy) || memchr(text.data, '\0', text.size) != NULL)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return inet_pton(family, copy, address) == 1;
}

/* RFC 1123, section 2.1: letters, digits and dashes, which stand at no label's ends. */
static bool is_hostname(struct dbk_slice text)
{
    size_t label = 0;
    if (text.size == 0 || text.size > HOSTNAME_SIZE_MAX)
        return false;
    for (size_t i = 0; i <= text.size; i++) {
        if (i == text.size || text.data[i] == '.') {
            if (label == 0 || label > LABEL_SIZE_MAX || text.data[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        bool dash = text.data[i] == '-';
        if (!is_letter(text.data[i]) && !is_digit(text.data[i]) && !(dash && label > 0))
            return false;
        label++;
    }
    return true;
}

/* A quoted local part: printable ASCII, quotes and backslashes escaped. */
static bool is_quoted(struct dbk_slice text)
{
    if (text.size < 2 || text.data[0] != '"' || text.data[text.size - 1] != '"')
        return false;
    for (size_t i = 1; i + 1 < text.size; i++) {
        if (text.data[i] == '\\' && i + 2 < text.size)
            i++;
        else if (text.data[i] == '"' || text.data[i] == '\\')
            return false;
        if (text.data[i] < ' ' || text.data[i] > '~')
            return false;
    }
    return true;
}

/* What stands behind the @: a host's name or an address in brackets. */
static bool is_mail_host(struct dbk_slice text)
{
    if (text.size < 2 || text.data[0] != '[')
        return is_hostname(text);
    if (text.data[text.size - 1] != ']')
        return false;
    struct dbk_slice address = dbk_slice(text.data + 1, text.size - 2);
    if (dbk_slice_starts_with(address, DBK_SLICE_LITERAL("IPv6:")))
        return is_address(AF_INET6, dbk_slice(address.data + 5, address.size - 5));
    return is_address(AF_INET, address);
}

/* RFC 5321, section 4.1.2: Mailbox. */
static bool is_email(struct dbk_slice text)
{
    const char *at = memrchr(text.data, '@', text.size);
    if (at == NULL)
        return false;
    struct dbk_slice local = dbk_slice(text.data, (size_t)(at - text.data));
    if (!is_mail_host(dbk_slice(at + 1, text.size - local.size - 1)) || local.size == 0 ||
        local.size > LOCAL_PART_SIZE_MAX)
        return false;
    if (is_quoted(local))
        return true;
    bool dot = true; /* none may stand first, last or beside another */
    for (size_t i = 0; i < local.size; i++) {
        char byte = local.data[i];
        if (byte == '.' && dot)
            return false;
        dot = byte == '.';
        if (!dot && !is_letter(byte) && !is_digit(byte) &&
            (byte == '\0' || strchr("!#$%&'*+-/=?^_`{|}~", byte) == NULL))
            return false;
    }
    return !dot;
}

/* RFC 3986: every byte from `allowed` (beside letters and digits), or %XX. */
static bool is_made_of(struct dbk_slice text, const char *allowed)
{
    for (size_t i = 0; i < text.size; i++) {
        char byte = text.data[i];
        if (is_letter(byte) || is_digit(byte))
            continue;
        if (byte == '%' && i + 2 < text.size && is_hex(text.data[i + 1]) &&
            is_hex(text.data[i + 2])) {
            i += 2;
            continue;
        }
        if (byte == '\0' || strchr(allowed, byte) == NULL)
            return false;
    }
    return true;
}

/* Takes off what stands up to a byte, which goes with it; all, where there is none. */
static struct dbk_slice take_to(struct dbk_slice *text, const char *end)
{
    size_t size = end == NULL ? text->size : (size_t)(end - text->data);
    struct dbk_slice taken = dbk_slice(text->data, size);
    size_t used = size + (end != NULL);
    *text = dbk_slice(text->data + used, text->size - used);
    return taken;
}

#define UNRESERVED "-._~"
#define SUB_DELIMITERS "!$&'()*+,;="

static bool is_authority(struct dbk_slice text)
{
    const char *at = text.size == 0 ? NULL : memrchr(text.data, '@', text.size);
    if (at != NULL && !is_made_of(take_to(&text, at), UNRESERVED SUB_DELIMITERS ":"))
        return false;
    const char *colon = text.size == 0 ? NULL : memrchr(text.data, ':', text.size);
    const char *bracket = text.size == 0 ? NULL : memrchr(text.data, ']', text.size);
    struct dbk_slice port = {0};
    struct dbk_slice host = text;
    if (colon != NULL && (bracket == NULL || colon > bracket)) {
        port = text;
        host = take_to(&port, colon);
    }
    for (size_t i = 0; i < port.size; i++) {
        if (!is_digit(port.data[i]))
            return false;
    }
    if (host.size > 0 && host.data[0] == '[') {
        if (host.data[host.size - 1] != ']')
            return false;
        host = dbk_slice(host.data + 1, host.size - 2);
        if (host.size > 0 && (host.data[0] == 'v' || host.data[0] == 'V'))
            return host.size > 3 && is_made_of(host, UNRESERVED SUB_DELIMITERS ":");
        return is_address(AF_INET6, host);
    }
    return is_made_of(host, UNRESERVED SUB_DELIMITERS);
}

static const char *find(struct dbk_slice text, char byte)
{
    return text.size == 0 ? NULL : memchr(text.data, byte, text.size);
}

/* The scheme with its colon; the text is left alone when there is none. */
static bool take_scheme(struct dbk_slice *text)
{
    size_t size = 0;
    while (
        size < text->size &&
        (is_letter(text->data[size]) ||
         (size > 0 && (is_digit(text->data[size]) || strchr("+-.", text->data[size]) != NULL))) &&
        text->data[size] != '\0')
        size++;
    if (size == 0 || size == text->size || text->data[size] != ':')
        return false;
    *text = dbk_slice(text->data + size + 1, text->size - size - 1);
    return true;
}

/* RFC 3986, appendix A: URI, or URI-reference. */
static bool is_uri(struct dbk_slice text, bool relative)
{
    static const char segments[] = UNRESERVED SUB_DELIMITERS ":@/";
    static const char rest[] = UNRESERVED SUB_DELIMITERS ":@/?";
    bool scheme = take_scheme(&text);
    if (!scheme && !relative)
        return false;
    const char *hash = find(text, '#');
    struct dbk_slice fragment = text;
    text = take_to(&fragment, hash);
    const char *mark = find(text, '?');
    struct dbk_slice query = text;
    text = take_to(&query, mark);
    if (!is_made_of(fragment, rest) || !is_made_of(query, rest))
        return false;
    if (dbk_slice_starts_with(text, DBK_SLICE_LITERAL("//"))) {
        text = dbk_slice(text.data + 2, text.size - 2);
        const char *slash = find(text, '/');
        struct dbk_slice path = text;
        struct dbk_slice authority = take_to(&path, slash);
        return is_authority(authority) && is_made_of(path, segments);
    }
    /* The first segment of a relative path has no colon: it would be taken for a scheme. */
    const char *colon = find(text, ':');
    const char *slash = find(text, '/');
    if (!scheme && colon != NULL && (slash == NULL || colon < slash))
        return false;
    return is_made_of(text, segments);
}

/* RFC 6901. */
static bool is_json_pointer(struct dbk_slice text)
{
    if (text.size > 0 && text.data[0] != '/')
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '~' &&
            (i + 1 == text.size || (text.data[i + 1] != '0' && text.data[i + 1] != '1')))
            return false;
    }
    return true;
}

bool dbk_format_fits(enum dbk_format format, struct dbk_slice text)
{
    if (text.size == 0)
        text.data = "";
    switch (format) {
    case DBK_FORMAT_NONE:
    case DBK_FORMAT_COUNT:
        return true;
    case DBK_FORMAT_DATE_TIME:
        return is_date_time(text);
    case DBK_FORMAT_DATE:
        return take_date(&text) && text.size == 0;
    case DBK_FORMAT_TIME:
        return take_time(&text) && text.size == 0;
    case DBK_FORMAT_DURATION:
        return is_duration(text);
    case DBK_FORMAT_UUID:
        return is_uuid(text);
    case DBK_FORMAT_EMAIL:
        return is_email(text);
    case DBK_FORMAT_HOSTNAME:
        return is_hostname(text);
    case DBK_FORMAT_IPV4:
        return is_address(AF_INET, text);
    case DBK_FORMAT_IPV6:
        return is_address(AF_INET6, text);
    case DBK_FORMAT_URI:
        return is_uri(text, false);
    case DBK_FORMAT_URI_REFERENCE:
        return is_uri(text, true);
    case DBK_FORMAT_JSON_POINTER:
        return is_json_pointer(text);
    }
    return true;
}
