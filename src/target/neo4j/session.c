/* SPDX-License-Identifier: Apache-2.0 */
#include "target/neo4j/session.h"

#include "target/neo4j/cypher.h"

/* A server that says nothing for so long past a statement's limit is taken for gone. */
#define SILENCE_US (INT64_C(30) * 1000000)
/* Nodes of an old generation that one transaction removes. */
#define DROP_NODES "2000"

#define KEY(model, generation) "{key: " model " + ':' + " generation "}"

const char dbk_neo4j_lock[] = "MATCH (m:_DaybookModel " KEY(
    "$_[1]", "$_[2]") ") SET m.locked = NOT coalesce(m.locked, false)";

/* 1 / 0 is how a statement can fail by itself: the position is another one. */
const char *const dbk_neo4j_catalog[DBK_CATALOG_COUNT] = {
    [DBK_CATALOG_MAKE] = "CREATE CONSTRAINT _daybook_model IF NOT EXISTS FOR (m:_DaybookModel) "
                         "REQUIRE m.key IS UNIQUE",
    [DBK_CATALOG_FIND] = "MATCH (m:_DaybookModel {model: $_[0]}) WHERE m.serving = ($_[1] = 1) "
                         "RETURN m.generation, m.position, m.fingerprint, m.definition "
                         "ORDER BY m.generation DESC LIMIT 1",
    [DBK_CATALOG_NEWEST] =
        "MATCH (m:_DaybookModel {model: $_[0]}) RETURN coalesce(max(m.generation), 0)",
    [DBK_CATALOG_POSITION] =
        "MATCH (m:_DaybookModel {model: $_[0], serving: true}) RETURN m.position",
    [DBK_CATALOG_PURGED] =
        "MATCH (m:_DaybookModel " KEY("$_[0]", "$_[1]") ") RETURN coalesce(m.forgotten, 0)",
    [DBK_CATALOG_RETRIED] =
        "MATCH (m:_DaybookModel " KEY("$_[0]", "$_[1]") ") UNWIND coalesce(m.retried, []) AS p "
                                                        "RETURN p ORDER BY p",
    [DBK_CATALOG_INSERT] = "CREATE (m:_DaybookModel " KEY(
        "$_[0]", "$_[1]") ") SET m.model = $_[0], "
                          "m.generation = $_[1], m.serving = ($_[2] = 1), m.position = 0, "
                          "m.fingerprint = $_[3], "
                          "m.definition = $_[4]",
    [DBK_CATALOG_SET_POSITION] = "OPTIONAL MATCH (m:_DaybookModel " KEY(
        "$_[1]", "$_[2]") ") "
                          "WITH m, CASE WHEN m.position = $_[3] THEN 1 ELSE 0 END AS same "
                          "WITH m, 1 / same AS checked SET m.position = $_[0] * checked",
    [DBK_CATALOG_SERVE] =
        "MATCH (m:_DaybookModel {model: $_[0]}) SET m.serving = (m.generation = $_[1])",
    [DBK_CATALOG_SET_PURGED] =
        "MATCH (m:_DaybookModel " KEY("$_[0]", "$_[1]") ") SET m.forgotten = $_[2]",
    [DBK_CATALOG_SET_RETRIED] = "OPTIONAL MATCH (m:_DaybookModel " KEY(
        "$_[0]", "$_[1]") ") "
                          "WITH m, CASE WHEN $_[2] IN coalesce(m.retried, []) THEN 0 ELSE 1 END "
                          "AS unmarked WITH m, 1 / unmarked AS checked "
                          "SET m.retried = coalesce(m.retried, []) + ($_[2] * checked)",
    [DBK_CATALOG_CLEAR_RETRIED] =
        "MATCH (m:_DaybookModel " KEY("$_[0]", "$_[1]") ") "
                                                        "SET m.retried = [p IN "
                                                        "coalesce(m.retried, []) WHERE p <> "
                                                        "$_[2]]",
    [DBK_CATALOG_REMOVE] =
        "MATCH (m:_DaybookModel " KEY("$_[0]", "$_[1]") ") WHERE NOT m.serving DELETE m",
};

void dbk_neo4j_add(struct dbk_buf *out, struct dbk_slice text, struct dbk_slice parameters)
{
    dbk_buf_append_text(out, "{\"statement\":");
    dbk_json_write_string(out, text);
    dbk_buf_append_text(out, ",\"parameters\":");
    dbk_buf_append(out, parameters);
    dbk_buf_append_text(out, "},");
}

/* What the operator can do about it stands behind Neo4j's own words. */
static void advise(struct dbk_slice code, struct dbk_error *err)
{
    static const struct {
        const char *code;
        const char *fix;
    } fixes[] = {
        {"Neo.ClientError.Security.Unauthorized",
         "check user and password in the connection string"},
        {"Neo.ClientError.Security.CredentialsExpired",
         "set a password of its own first (ALTER CURRENT USER SET PASSWORD)"},
        {"Neo.ClientError.Database.DatabaseNotFound",
         "name one that is there at the end of the connection string; Community has `neo4j`"},
    };
    struct dbk_error plain = *err;
    for (size_t i = 0; i < sizeof(fixes) / sizeof(fixes[0]); i++) {
        if (dbk_slice_equal_text(code, fixes[i].code))
            dbk_ignore(
                dbk_error_set(err, plain.code, "Neo4j: %.600s: %s", plain.message, fixes[i].fix));
    }
}

int dbk_neo4j_exchange(struct dbk_neo4j_session *session, const struct dbk_buf *statements,
                       struct dbk_json *json, struct dbk_neo4j_reply *reply_out,
                       struct dbk_error *err)
{
    struct dbk_buf *request = &session->request;
    struct dbk_error failure = {0};
    long status = 0;
    size_t size = statements->size == 0 ? 0 : statements->size - 1; /* the last comma */
    dbk_buf_reset(request);
    dbk_buf_append_text(request, "{\"statements\":[");
    dbk_buf_append(request, dbk_slice(statements->data, size));
    dbk_buf_append_text(request, "]}");
    if (request->rc < 0 || statements->rc < 0)
        return dbk_error_set(err, request->rc < 0 ? request->rc : statements->rc,
                             "a request is longer than %zu MiB", DBK_NEO4J_REQUEST_SIZE_MAX >> 20);
    int rc = dbk_neo4j_http_send(session->http, dbk_buf_slice(request),
                                 session->limit_us + SILENCE_US, &session->answer, &status, err);
    if (rc == DBK_OK) {
        rc = dbk_neo4j_reply_parse(json, dbk_buf_slice(&session->answer), reply_out, &failure);
        if (rc == DBK_ECONNECT && status != 200)
            return dbk_error_set(err, rc,
                                 "Neo4j: the server answers with status %ld: is this its "
                                 "HTTP port?",
                                 status);
        if (rc < 0)
            return dbk_error_set(err, rc, "%s", failure.message);
    }
    if (rc < 0)
        return rc;
    rc = dbk_neo4j_reply_check(reply_out, &failure);
    if (rc < 0 && err != NULL) {
        advise(reply_out->code, &failure);
        *err = failure;
    }
    return rc;
}

static int check_version(struct dbk_neo4j_session *session, struct dbk_error *err)
{
    const struct dbk_json_node *root = NULL;
    struct dbk_error failure = {0};
    int rc = dbk_json_parse(session->json, dbk_buf_slice(&session->answer), &root, &failure);
    if (rc == DBK_ENOMEM)
        return dbk_error_set(err, rc, "out of memory connecting");
    const struct dbk_json_node *version =
        rc == DBK_OK ? dbk_json_member(root, "neo4j_version") : NULL;
    if (version == NULL || version->kind != DBK_JSON_STRING)
        return dbk_error_set(err, DBK_ECONNECT,
                             "Neo4j: no Neo4j answers there: is this its HTTP port?");
    if (!dbk_neo4j_version_is_enough(version->text))
        return dbk_error_set(err, DBK_ECONNECT, "Neo4j %.*s is too old: 5.23 or later is needed",
                             DBK_SLICE_ARGS(version->text));
    return DBK_OK;
}

int dbk_neo4j_greet(struct dbk_neo4j_session *session, struct dbk_error *err)
{
    struct dbk_neo4j_reply reply = {0};
    struct dbk_buf statement;
    long status = 0;
    int rc = dbk_neo4j_http_send(session->http, (struct dbk_slice){0}, SILENCE_US, &session->answer,
                                 &status, err);
    if (rc == DBK_OK)
        rc = check_version(session, err);
    if (rc < 0)
        return rc;
    dbk_buf_init(&statement, 256);
    dbk_neo4j_add(&statement, DBK_SLICE_LITERAL("RETURN 1"), DBK_SLICE_LITERAL("{}"));
    rc = dbk_neo4j_exchange(session, &statement, session->json, &reply, err);
    dbk_buf_release(&statement);
    return rc;
}

/* ---- Dropping ---- */

/* Names are put in backticks, and come from the server. */
static void quote(struct dbk_buf *out, struct dbk_slice name)
{
    dbk_buf_append_char(out, '`');
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] == '`')
            dbk_buf_append_char(out, '`');
        dbk_buf_append_char(out, name.data[i]);
    }
    dbk_buf_append_char(out, '`');
}

static int ask(struct dbk_neo4j_session *session, struct dbk_slice text, struct dbk_slice prefix,
               struct dbk_neo4j_reply *reply_out, struct dbk_error *err)
{
    struct dbk_buf statement;
    struct dbk_buf parameters;
    dbk_buf_init(&statement, DBK_CYPHER_SIZE_MAX);
    dbk_buf_init(&parameters, DBK_CYPHER_SIZE_MAX);
    dbk_buf_append_text(&parameters, "{\"_\":[");
    dbk_json_write_string(&parameters, prefix);
    dbk_buf_append_text(&parameters, "]}");
    dbk_neo4j_add(&statement, text, dbk_buf_slice(&parameters));
    int rc = dbk_neo4j_exchange(session, &statement, session->json, reply_out, err);
    dbk_buf_release(&statement);
    dbk_buf_release(&parameters);
    return rc;
}

/* The first value of the first row; no text: NULL kind. */
static const struct dbk_json_node *first_value(const struct dbk_neo4j_reply *reply)
{
    const struct dbk_json_node *result = dbk_neo4j_reply_result(reply, 0);
    const struct dbk_json_node *row = dbk_json_first(dbk_json_member(result, "data"));
    return row == NULL ? NULL : dbk_json_first(dbk_json_member(row, "row"));
}

/* Asks for one name after the other, and runs a statement with it, until there is none. */
static int drop_all(struct dbk_neo4j_session *session, const char *find, struct dbk_slice prefix,
                    const char *before, const char *behind, struct dbk_error *err)
{
    int rc = DBK_OK;
    while (rc == DBK_OK) {
        struct dbk_neo4j_reply reply = {0};
        struct dbk_buf text;
        rc = ask(session, dbk_slice_of(find), prefix, &reply, err);
        const struct dbk_json_node *name = rc == DBK_OK ? first_value(&reply) : NULL;
        if (name == NULL || name->kind != DBK_JSON_STRING)
            break;
        dbk_buf_init(&text, DBK_CYPHER_SIZE_MAX);
        dbk_buf_append_text(&text, before);
        quote(&text, name->text);
        dbk_buf_append_text(&text, behind);
        rc = text.rc < 0 ? dbk_error_set(err, text.rc, "out of memory dropping a generation")
                         : ask(session, dbk_buf_slice(&text), prefix, &reply, err);
        dbk_buf_release(&text);
    }
    return rc;
}

int dbk_neo4j_drop(struct dbk_connection *connection, struct dbk_slice prefix,
                   struct dbk_error *err)
{
    static const char nodes[] = "CALL db.labels() YIELD label WHERE label STARTS WITH $_[0] + '_' "
                                "CALL (label) { MATCH (n:$(label)) RETURN 1 AS one LIMIT 1 } "
                                "RETURN label LIMIT 1";
    static const char constraints[] =
        "SHOW CONSTRAINTS YIELD name, labelsOrTypes "
        "WHERE any(l IN labelsOrTypes WHERE l STARTS WITH $_[0] + '_') RETURN name LIMIT 1";
    static const char indexes[] =
        "SHOW INDEXES YIELD name, labelsOrTypes "
        "WHERE any(l IN labelsOrTypes WHERE l STARTS WITH $_[0] + '_') RETURN name LIMIT 1";
    struct dbk_neo4j_session *session = (struct dbk_neo4j_session *)connection;
    int rc = drop_all(session, nodes, prefix,
                      "MATCH (n:", ") WITH n LIMIT " DROP_NODES " DETACH DELETE n", err);
    if (rc == DBK_OK)
        rc = drop_all(session, constraints, prefix, "DROP CONSTRAINT ", " IF EXISTS", err);
    return rc == DBK_OK ? drop_all(session, indexes, prefix, "DROP INDEX ", " IF EXISTS", err) : rc;
}
