/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#undef dbk_error_set
#undef dbk_error_set_errno

/* Cuts a message that vsnprintf had to shorten where a UTF-8 character begins. */
static void cut_at_character(char *message, size_t size)
{
    size_t end = size;
    while (end > 0 && ((unsigned char)message[end - 1] & 0xC0) == 0x80)
        end--;
    if (end > 0 && (unsigned char)message[end - 1] >= 0x80)
        end--;
    message[end] = '\0';
}

int dbk_error_set_va(struct dbk_error *err, int code, const char *format, va_list arguments)
{
    if (err == NULL)
        return code;
    /* Formatted beside it first: the arguments may point into err itself. */
    char message[DBK_ERROR_MESSAGE_SIZE];
    int size = vsnprintf(message, sizeof(message), format, arguments);
    if (size < 0)
        message[0] = '\0';
    else if ((size_t)size >= sizeof(message))
        cut_at_character(message, sizeof(message) - 1);
    err->code = code;
    err->os_errno = 0;
    memcpy(err->message, message, sizeof(message));
    return code;
}

int dbk_error_set(struct dbk_error *err, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)dbk_error_set_va(err, code, format, arguments);
    va_end(arguments);
    return code;
}

static int code_of_errno(int os_errno)
{
    switch (os_errno) {
    case ENOSPC:
    case EDQUOT:
        return DBK_EFULL;
    case ENOMEM:
        return DBK_ENOMEM;
    case ENOENT:
        return DBK_ENOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return DBK_EDENIED;
    default:
        return DBK_EIO;
    }
}

int dbk_error_set_errno(struct dbk_error *err, int os_errno, const char *format, ...)
{
    int code = code_of_errno(os_errno);
    if (err == NULL)
        return code;
    va_list arguments;
    va_start(arguments, format);
    (void)dbk_error_set_va(err, code, format, arguments);
    va_end(arguments);
    size_t used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof(err->message) - used, ": %s", strerror(os_errno));
    err->os_errno = os_errno;
    return code;
}

const char *dbk_code_text(int code)
{
    switch (code) {
#define DBK_CODE_TEXT(name, value, wire, text)                                                     \
    case value:                                                                                    \
        return text;
        DBK_CODES(DBK_CODE_TEXT)
#undef DBK_CODE_TEXT
    default:
        return "ok";
    }
}

const char *dbk_code_name(int code)
{
    switch (code) {
#define DBK_CODE_NAME(name, value, wire, text)                                                     \
    case value:                                                                                    \
        return wire;
        DBK_CODES(DBK_CODE_NAME)
#undef DBK_CODE_NAME
    default:
        return "ok";
    }
}
