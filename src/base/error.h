/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error -- what went wrong, as a code for programs and a struct for people.
 *
 * Functions that can fail return DBK_OK or one of the negative codes below; where the code alone
 * would not tell an operator what to do, their last parameter is a struct dbk_error. The struct
 * belongs to the caller, needs no freeing, may be NULL, and is copied by assignment. It is written
 * on failure only, and a lower error is never overwritten by a higher one.
 *
 * Values are stable: they cross the wire and the C API.
 *
 * Threads: pure functions; a struct dbk_error belongs to one thread at a time.
 */
#ifndef DBK_BASE_ERROR_H
#define DBK_BASE_ERROR_H

#include <stdarg.h>
#include <stddef.h>

#define DBK_MUST_CHECK __attribute__((warn_unused_result))
#define DBK_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

/* Says that a result is left alone on purpose: gcc warns about a plain (void). */
static inline void dbk_ignore(int rc)
{
    (void)rc;
}

/* X(name, value, wire name, text) -- the closed list. */
#define DBK_CODES(X)                                                                               \
    X(EINVAL, -1, "invalid", "invalid argument")                                                   \
    X(ENOMEM, -2, "no-memory", "out of memory")                                                    \
    X(EIO, -3, "io", "input or output failed")                                                     \
    X(ECORRUPT, -4, "corrupt", "stored data is damaged")                                           \
    X(ENOTFOUND, -5, "not-found", "not found")                                                     \
    X(EEXISTS, -6, "exists", "exists already")                                                     \
    X(ECONFLICT, -7, "conflict", "a condition of the append does not hold")                        \
    X(ELIMIT, -8, "limit", "a limit is exceeded")                                                  \
    X(EFULL, -9, "full", "no space left on the disk")                                              \
    X(EBUSY, -10, "busy", "held by another process")                                               \
    X(EFORMAT, -11, "format", "written by a newer version of Daybook")                             \
    X(EUNKNOWN, -12, "outcome-unknown", "the outcome is unknown")                                  \
    X(ESTOPPED, -13, "stopped", "stopped after an earlier failure")                                \
    X(ETIMEOUT, -14, "timeout", "took too long")                                                   \
    X(EREFUSED, -15, "refused", "refused by a command or a constraint")                            \
    X(ESCRIPT, -16, "script", "a script or handler failed")                                        \
    X(EDENIED, -17, "denied", "not allowed")                                                       \
    X(ECONNECT, -18, "connect", "cannot connect")                                                  \
    X(EBOOK, -19, "book", "the book's definitions have faults")                                    \
    X(ESTALE, -20, "stale", "further behind than its max_lag")                                     \
    X(EKEY, -21, "unauthorized", "no good API key")                                                \
    X(ETHROTTLED, -22, "throttled", "more requests than the API key's limit")                      \
    X(EGONE, -23, "gone", "no longer kept")

enum dbk_code {
    DBK_OK = 0,
#define DBK_CODE_ENUM(name, value, wire, text) DBK_##name = (value),
    DBK_CODES(DBK_CODE_ENUM)
#undef DBK_CODE_ENUM
};

#define DBK_ERROR_MESSAGE_SIZE 1024

struct dbk_error {
    int code;                             /* enum dbk_code; DBK_OK when nothing was reported */
    int os_errno;                         /* errno behind it, 0 when there is none */
    char message[DBK_ERROR_MESSAGE_SIZE]; /* one line, no full stop, NUL-terminated, UTF-8 */
};

/*
 * Fills err (which may be NULL) and returns code, so that failing is one line. A message that does
 * not fit is cut at a character's start.
 */
int dbk_error_set(struct dbk_error *err, int code, const char *format, ...) DBK_PRINTF(3, 4);
int dbk_error_set_va(struct dbk_error *err, int code, const char *format, va_list arguments)
    DBK_PRINTF(3, 0);

/*
 * The same for a failed system call: ENOSPC, EDQUOT -> DBK_EFULL, ENOMEM -> DBK_ENOMEM,
 * ENOENT -> DBK_ENOTFOUND, EACCES, EPERM, EROFS -> DBK_EDENIED, all others -> DBK_EIO.
 * ": " and the system's own text end the message.
 */
int dbk_error_set_errno(struct dbk_error *err, int os_errno, const char *format, ...)
    DBK_PRINTF(3, 4);

/* The analyzer sees one file at a time, and has to be told that what goes in comes out. */
#ifdef __clang_analyzer__
#define dbk_error_set(err, code, ...) ((void)(dbk_error_set)(err, code, __VA_ARGS__), (int)(code))
#define dbk_error_set_errno(...) ((void)(dbk_error_set_errno)(__VA_ARGS__), (int)DBK_EIO)
#endif

/* The code's text ("out of memory") and its name on the wire ("no-memory"); static strings. */
const char *dbk_code_text(int code);
const char *dbk_code_name(int code);

#endif
