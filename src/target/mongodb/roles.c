/* SPDX-License-Identifier: Apache-2.0 */
/* Users and roles of MongoDB: commands about them, and connection strings of other users. */
#include "target/roles.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "target/login.h"
#include "target/mongodb/session.h"
#include "target/secret.h"

#define KIND "mongodb:"
#define UNAUTHORIZED 13
#define AUTHENTICATION_FAILED 18
#define COMMAND_NOT_FOUND 59

extern const struct dbk_roles_driver dbk_roles_driver;
extern const struct dbk_login_driver dbk_login_driver;

static struct dbk_mongodb_session *session_of(struct dbk_connection *connection)
{
    return (struct dbk_mongodb_session *)connection;
}

/* ---- Commands ---- */

static int fault(const bson_error_t *error, const bson_t *reply, struct dbk_error *err)
{
    bool server = error->domain == MONGOC_ERROR_SERVER || error->domain == MONGOC_ERROR_QUERY;
    if (!server)
        return dbk_mongodb_fault(error, reply, err);
    if (error->code == COMMAND_NOT_FOUND)
        return dbk_error_set(err, DBK_ENOTFOUND, "MongoDB: %.500s", error->message);
    if (error->code == UNAUTHORIZED)
        return dbk_error_set(err, DBK_EDENIED, "MongoDB: %.500s", error->message);
    if (error->code == AUTHENTICATION_FAILED)
        return dbk_error_set(err, DBK_ECONNECT, "MongoDB: %.500s", error->message);
    int rc = dbk_mongodb_fault(error, reply, err);
    return rc == DBK_ESCRIPT || rc == DBK_EREFUSED
               ? dbk_error_set(err, DBK_EINVAL, "MongoDB: %.500s", error->message)
               : rc;
}

static int ask(struct dbk_connection *connection, const char *database, struct dbk_slice command,
               struct dbk_slice *reply_out, struct dbk_error *err)
{
    struct dbk_mongodb_session *session = session_of(connection);
    bson_error_t error = {0};
    bson_t body;
    bson_t reply;
    *reply_out = (struct dbk_slice){0};
    if (!bson_init_from_json(&body, command.data, (ssize_t)command.size, &error))
        return dbk_error_set(err, DBK_EINVAL, "no command: %s", error.message);
    bool done = mongoc_client_command_with_opts(session->client,
                                                database == NULL ? session->database : database,
                                                &body, NULL, NULL, &reply, &error);
    int rc = done ? DBK_OK : fault(&error, &reply, err);
    bson_free(session->reply);
    session->reply = bson_as_relaxed_extended_json(&reply, NULL);
    if (rc == DBK_OK && session->reply == NULL)
        rc = dbk_error_set(err, DBK_EFORMAT, "MongoDB's answer is no text");
    if (session->reply != NULL)
        *reply_out = dbk_slice_of(session->reply);
    bson_destroy(&reply);
    bson_destroy(&body);
    return rc;
}

static const char *database_of(struct dbk_connection *connection)
{
    return session_of(connection)->database;
}

__attribute__((visibility("default")))
const struct dbk_roles_driver dbk_roles_driver = {.ask = ask, .database = database_of};

/* ---- Connection strings ---- */

static int parse(const char *address, mongoc_uri_t **uri_out, struct dbk_error *err)
{
    struct dbk_buf text;
    dbk_buf_init(&text, DBK_SECRET_TEXT_SIZE_MAX + 1);
    int rc = dbk_secret_read(address + sizeof(KIND) - 1, "the connection string", &text, err);
    if (rc == DBK_OK) {
        /* libmongoc's message would have what it could not read. */
        *uri_out = mongoc_uri_new_with_error(text.data, NULL);
        if (*uri_out == NULL || mongoc_uri_get_database(*uri_out) == NULL)
            rc = dbk_error_set(err, DBK_ECONNECT, "%s holds no connection string with a database",
                               address + sizeof(KIND) - 1);
    }
    if (text.data != NULL)
        explicit_bzero(text.data, text.size);
    dbk_buf_release(&text);
    if (rc < 0) {
        mongoc_uri_destroy(*uri_out);
        *uri_out = NULL;
    }
    return rc;
}

static int take(const char *text, char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err)
{
    return snprintf(text_out, DBK_LOGIN_TEXT_SIZE, "%s", text == NULL ? "" : text) <
                   DBK_LOGIN_TEXT_SIZE
               ? DBK_OK
               : dbk_error_set(err, DBK_ELIMIT, "the connection string is too long");
}

static int read_login(const char *address, char user_out[DBK_LOGIN_TEXT_SIZE],
                      char password_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err)
{
    mongoc_uri_t *uri = NULL;
    int rc = parse(address, &uri, err);
    if (rc == DBK_OK)
        rc = take(mongoc_uri_get_username(uri), user_out, err);
    if (rc == DBK_OK)
        rc = take(mongoc_uri_get_password(uri), password_out, err);
    mongoc_uri_destroy(uri);
    return rc;
}

/* True of an option that is the first user's alone. */
static bool is_personal(struct dbk_slice option)
{
    static const char *const names[] = {"authSource", "authMechanism", "authMechanismProperties",
                                        "tlsCertificateKeyFile", "tlsCertificateKeyFilePassword"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t size = strlen(names[i]);
        if (option.size > size && option.data[size] == '=' &&
            strncasecmp(option.data, names[i], size) == 0)
            return true;
    }
    return false;
}

/* mongodb://user:password@hosts/database?options, of which the user is another: the database's own,
   whoever the first one is. */
static void rewrite(const char *text, const char *database, const char *user, const char *password,
                    struct dbk_buf *out)
{
    const char *authority = strstr(text, "://") + 3;
    size_t size = strcspn(authority, "/?");
    const char *query = strchr(authority, '?');
    const char *at = memrchr(authority, '@', size);
    const char *hosts = at == NULL ? authority : at + 1;
    dbk_buf_append(out, dbk_slice(text, (size_t)(authority - text)));
    dbk_buf_append_format(out, "%s:%s@%.*s/%s?authSource=%s", user, password,
                          (int)(authority + size - hosts), hosts, database, database);
    for (const char *option = query == NULL ? "" : query + 1; *option != '\0';) {
        struct dbk_slice one = dbk_slice(option, strcspn(option, "&"));
        if (one.size > 0 && !is_personal(one)) {
            dbk_buf_append_char(out, '&');
            dbk_buf_append(out, one);
        }
        option += one.size + (option[one.size] == '&' ? 1 : 0);
    }
}

static int make_login(const char *address, const char *user, const char *password,
                      char text_out[DBK_LOGIN_TEXT_SIZE], struct dbk_error *err)
{
    mongoc_uri_t *uri = NULL;
    struct dbk_buf text;
    int rc = parse(address, &uri, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&text, DBK_LOGIN_TEXT_SIZE - 1);
    rewrite(mongoc_uri_get_string(uri), mongoc_uri_get_database(uri), user, password, &text);
    if (text.rc < 0)
        rc = dbk_error_set(err, text.rc, "a connection string: %s", dbk_code_text(text.rc));
    else
        (void)snprintf(text_out, DBK_LOGIN_TEXT_SIZE, "%.*s", DBK_SLICE_ARGS(dbk_buf_slice(&text)));
    if (text.data != NULL)
        explicit_bzero(text.data, text.size);
    dbk_buf_release(&text);
    mongoc_uri_destroy(uri);
    return rc;
}

static bool has_host(const mongoc_host_list_t *hosts, const mongoc_host_list_t *host)
{
    for (; hosts != NULL; hosts = hosts->next) {
        if (strcmp(hosts->host_and_port, host->host_and_port) == 0)
            return true;
    }
    return false;
}

/* The same servers and database, with TLS where the other has it. */
static int compare(const mongoc_uri_t *one, const mongoc_uri_t *other, struct dbk_error *err)
{
    bool same = strcmp(mongoc_uri_get_database(one), mongoc_uri_get_database(other)) == 0;
    for (const mongoc_host_list_t *host = mongoc_uri_get_hosts(other); same && host != NULL;
         host = host->next)
        same = has_host(mongoc_uri_get_hosts(one), host);
    if (!same)
        return dbk_error_set(err, DBK_EBOOK,
                             "it leads to another server or database than the book's own string");
    if (mongoc_uri_get_tls(one) && !mongoc_uri_get_tls(other))
        return dbk_error_set(err, DBK_EBOOK, "it says nothing of `tls`, which the book's own does");
    if (mongoc_uri_get_option_as_bool(other, MONGOC_URI_TLSINSECURE, false) &&
        !mongoc_uri_get_option_as_bool(one, MONGOC_URI_TLSINSECURE, false))
        return dbk_error_set(err, DBK_EBOOK, "it has `tlsInsecure`, which the book's own has not");
    return DBK_OK;
}

static int agree(const char *address, const char *login, struct dbk_error *err)
{
    mongoc_uri_t *one = NULL;
    mongoc_uri_t *other = NULL;
    int rc = parse(address, &one, err);
    if (rc == DBK_OK)
        rc = parse(login, &other, err);
    if (rc == DBK_OK)
        rc = compare(one, other, err);
    mongoc_uri_destroy(one);
    mongoc_uri_destroy(other);
    return rc;
}

__attribute__((visibility("default"))) const struct dbk_login_driver dbk_login_driver = {
    .read = read_login, .make = make_login, .agree = agree};
