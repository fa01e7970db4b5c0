/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement_sql -- what PostgreSQL is asked about services in it.
 *
 * Texts are pieces that are put behind one another, each list ended by NULL: `base` names what the
 * files say and finds it in the catalogs, `objects` lists every object that has privileges, those
 * that there are and those that should be; what stands behind asks for rows. ?1 is the services and
 * the names of Daybook's own tables, as placement.c writes them; the session looks for names in
 * pg_catalog alone, and its setting daybook.search_path has the schemas that it looked in before.
 *
 * Threads: constant.
 */
#ifndef DBK_SERVICE_PLACEMENT_SQL_H
#define DBK_SERVICE_PLACEMENT_SQL_H

extern const char *const dbk_placement_sql_base[];
/* What cannot be: one column, `file:line:column: what`. Behind base. */
extern const char *const dbk_placement_sql_faults[];
extern const char *const dbk_placement_sql_objects[];
/* What is left of objects, without settings before PostgreSQL 15: they had no privileges. */
extern const char *const dbk_placement_sql_settings[];
extern const char *const dbk_placement_sql_rights[];
/* step, service, what, statement. Behind base, objects, settings, rights. */
extern const char *const dbk_placement_sql_differences[];
/* service, thing, action, expected (1, 0), asked (1, 0), statement. Behind the same. */
extern const char *const dbk_placement_sql_attempts[];
/* One column, a statement that removes what a verification left behind. Alone. */
extern const char *const dbk_placement_sql_probes[];

#endif
