/* SPDX-License-Identifier: Apache-2.0 */
/* Connection strings of PostgreSQL's users, by libpq's own reading of them. */
#include "target/login.h"

#include <stdio.h>

#include "base/assert.h"
#include "target/postgres/session.h"
#include "target/secret.h"

#define KIND "postgres:"

extern const struct dbk_login_driver dbk_login_driver;

/* The options of an address's string; ends with PQconninfoFree. */
static int parse(const char *address, PQconninfoOption **options_out, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_assert(strncmp(address, KIND, sizeof(KIND) - 1) == 0);
    dbk_buf_init(&text, DBK_SECRET_TEXT_SIZE_MAX + 1);
    int rc = dbk_secret_read(address + sizeof(KIND) - 1, "the connection string", &text, err);
    if (rc == DBK_OK) {
        /* libpq's message would have what it could not read. */
        *options_out = PQconninfoParse(text.data, NULL);
        rc = *options_out == NULL
                 ? dbk_error_set(err, DBK_ECONNECT, "%s holds no connection string",
                                 address + sizeof(KIND) - 1)
                 : DBK_OK;
    }
    if (text.data != NULL)
        explicit_bzero(text.data, text.size);
    dbk_buf_release(&text);
    return rc;
}

static int take(const PQconninfoOption *options, const char *keyword, char *text_out,
                struct dbk_error *err)
{
    text_out[0] = '\0';
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (strcmp(option->keyword, keyword) != 0 || option->val == NULL)
            continue;
        if (snprintf(text_out, DBK_LOGIN_TEXT_SIZE, "%s", option->val) >= DBK_LOGIN_TEXT_SIZE)
            return dbk_error_set(err, DBK_ELIMIT, "the connection string's %s is too long",
                                 keyword);
    }
    return DBK_OK;
}

static int read_login(const char *address, char user_out[DBK_LOGIN_TEXT_SIZE],
                      char password_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err)
{
    PQconninfoOption *options = NULL;
    int rc = parse(address, &options, err);
    if (rc == DBK_OK)
        rc = take(options, "user", user_out, err);
    if (rc == DBK_OK)
        rc = take(options, "password", password_out, err);
    PQconninfoFree(options);
    return rc;
}

static void put(struct dbk_buf *out, const char *keyword, const char *value)
{
    dbk_buf_append_format(out, "%s%s='", out->size > 0 ? " " : "", keyword);
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '\'' || *at == '\\')
            dbk_buf_append_char(out, '\\');
        dbk_buf_append_char(out, *at);
    }
    dbk_buf_append_char(out, '\'');
}

/* True for what is the first user's alone: who he is, and what he begins his sessions with. */
static bool is_personal(const char *keyword)
{
    static const char *const names[] = {"user",   "password", "passfile",   "sslcert",
                                        "sslkey", "options",  "sslpassword"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], keyword) == 0)
            return true;
    }
    return false;
}

/* Gives a string out, and wipes it here. */
static int give(struct dbk_buf *text, char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err)
{
    int rc = text->rc < 0
                 ? dbk_error_set(err, text->rc, "a connection string: %s", dbk_code_text(text->rc))
                 : DBK_OK;
    if (rc == DBK_OK)
        (void)snprintf(text_out, DBK_LOGIN_TEXT_SIZE, "%.*s", DBK_SLICE_ARGS(dbk_buf_slice(text)));
    if (text->data != NULL)
        explicit_bzero(text->data, text->size);
    dbk_buf_release(text);
    return rc;
}

static int make_login(const char *address, const char *user, const char *password,
                      char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err)
{
    PQconninfoOption *options = NULL;
    struct dbk_buf text;
    int rc = parse(address, &options, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&text, DBK_LOGIN_TEXT_SIZE - 1);
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (option->val != NULL && !is_personal(option->keyword))
            put(&text, option->keyword, option->val);
    }
    put(&text, "user", user);
    put(&text, "password", password);
    PQconninfoFree(options);
    return give(&text, text_out, err);
}

static int read_whole(const char *address, char text_out[DBK_LOGIN_TEXT_SIZE],
                      struct dbk_error *err)
{
    PQconninfoOption *options = NULL;
    struct dbk_buf text;
    bool located = false;
    int rc = parse(address, &options, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&text, DBK_LOGIN_TEXT_SIZE - 1);
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (option->val == NULL)
            continue;
        put(&text, option->keyword, option->val);
        located = located || strncmp(option->keyword, "host", 4) == 0;
    }
    PQconninfoFree(options);
    rc = give(&text, text_out, err);
    return rc == DBK_OK && !located
               ? dbk_error_set(err, DBK_EINVAL,
                               "the connection string of %s names no host, by which another server "
                               "could find it",
                               address)
               : rc;
}

/* The value of a setting; NULL: none is said. */
static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (strcmp(option->keyword, keyword) == 0)
            return option->val == NULL || *option->val == '\0' ? NULL : option->val;
    }
    return NULL;
}

static size_t strength_of(const char *mode)
{
    static const char *const modes[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};
    size_t i = 0;
    while (i < sizeof(modes) / sizeof(modes[0]) && (mode == NULL || strcmp(modes[i], mode) != 0))
        i++;
    return i < sizeof(modes) / sizeof(modes[0]) ? i : 2; /* libpq prefers TLS */
}

static int compare(const PQconninfoOption *wanted, const PQconninfoOption *got,
                   struct dbk_error *err)
{
    static const char *const keywords[] = {
        "sslmode",         "sslrootcert", "sslcrl",       "sslcrldir",
        "channel_binding", "gssencmode",  "require_auth", "ssl_min_protocol_version"};
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        const char *want = value_of(wanted, keywords[i]);
        const char *has = value_of(got, keywords[i]);
        bool good = want == NULL || (has != NULL && strcmp(want, has) == 0);
        if (i == 0)
            good = want == NULL || strength_of(has) >= strength_of(want);
        if (!good)
            return dbk_error_set(err, DBK_EBOOK, "its %s is %s, and must be %s as the database's",
                                 keywords[i], has == NULL ? "not said" : has, want);
    }
    return DBK_OK;
}

static int agree(const char *address, const char *login, struct dbk_error *err)
{
    PQconninfoOption *wanted = NULL;
    PQconninfoOption *got = NULL;
    int rc = parse(address, &wanted, err);
    if (rc == DBK_OK)
        rc = parse(login, &got, err);
    if (rc == DBK_OK)
        rc = compare(wanted, got, err);
    PQconninfoFree(wanted);
    PQconninfoFree(got);
    return rc;
}

static int hide_password(struct dbk_connection *connection, const char *user, const char *password,
                         char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err)
{
    struct dbk_pq_session *session = dbk_pq_session_of(connection);
    int rc = dbk_pq_leave_pipeline(session, err);
    if (rc < 0)
        return rc;
    /* Whatever the server's password_encryption is: MD5 of it would be as good as the password. */
    char *hidden = PQencryptPasswordConn(session->server, password, user, "scram-sha-256");
    if (hidden == NULL)
        return dbk_pq_lost(session, err);
    (void)snprintf(text_out, DBK_LOGIN_TEXT_SIZE, "%s", hidden);
    PQfreemem(hidden);
    return DBK_OK;
}

__attribute__((visibility("default"))) const struct dbk_login_driver dbk_login_driver = {
    .read = read_login,
    .make = make_login,
    .agree = agree,
    .whole = read_whole,
    .hide = hide_password,
};
