/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover -- a writer's way in: what was synced stays, what follows is kept whole or cut.
 *
 * 1. All segments' headers are read and must follow each other. The floor is the noted size of the
 *    last segment, or its header when the note speaks of an earlier one: a header is synced before
 *    its segment gets a name, so it proves that all segments before it are synced.
 * 2. Below the floor nothing is read. Behind it groups are verified one by one. The first bad place
 *    is a torn tail, unless a later group's header says that this place had been synced by then:
 *    then it is damage and nothing is changed. Without a readable note the whole last segment is
 *    verified and nothing bad may stand in it at all: a crash does not lose the note.
 * 3. Kept groups are written into a new segment and synced, since bytes that survived in the page
 *    cache need not be on the disk. It becomes the next segment, or takes the place of the last one
 *    when that has no group below the floor. Then the old segment is cut at the floor.
 *
 * A crash in step 3 leaves either the old state or the new segment by its name; what still stands
 * behind the size it says of its predecessor is cut by the next recovery.
 *
 * Threads: the writer, before anyone reads.
 * Source:  docs/format/log.md, DESIGN sections 3 and 9.
 */
#ifndef DBK_LOG_RECOVER_H
#define DBK_LOG_RECOVER_H

#include "log/state.h"

/*
 * Leaves the tail ready for writing, its file open, and the note written and synced. A folder
 * without segments becomes a new log.
 *
 * DBK_ECORRUPT  damage; nothing was changed
 * DBK_EFORMAT, DBK_EIO, DBK_EFULL, DBK_EDENIED, DBK_ENOMEM
 */
int dbk_log_recover(struct dbk_log *log, struct dbk_error *err) DBK_MUST_CHECK;

#endif
