/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit -- what happened and why, for people: causes and effects, and what each changed.
 *
 * The room's front door: what it has stands in the headers below.
 *
 * Threads: as they say.
 */
#ifndef DBK_AUDIT_AUDIT_H
#define DBK_AUDIT_AUDIT_H

#include "audit/diff.h"
#include "audit/trace.h"

#endif
