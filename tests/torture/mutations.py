#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Breaks writer, recovery, index, store and proof on purpose, and looks whether the tests notice.

    tests/torture/mutations.py [--check] [--only N,N]

Each mutation is an edit of one place: a check left out, a bound off by one, a step forgotten. It
is made in a copy of the tree, built, and the unit tests of log, index, store and proof and a share
of `states` are run, the quick ones first, until one fails. One that none of them notices is a
survivor: then a test is missing. --check only looks whether each edit still finds its place, once.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TESTS = ["log-record-test", "log-log-test", "log-damage-test", "log-compact-test",
         "log-backup-test", "log-crash-test", "index-index-test", "store-append-test",
         "store-condition-test", "store-cursor-test", "store-rules-test", "store-crash-test",
         "group-group-test", "proof-proof-test"]
STATES = [["--kind", "crash", "--count", "6000"], ["--kind", "calls", "--count", "1500"],
          ["--kind", "bits", "--count", "2000"]]

# file, what stands there, what is put there, what it breaks
MUTATIONS = [
    ("log/write.c",
     "if (log->os->sync(log->os, &segment->file, &sync_err) < 0) {",
     "if (segment->file.fd < -5 && log->os->sync(log->os, &segment->file, &sync_err) < 0) {",
     "appends are acknowledged without a sync"),
    ("log/write.c",
     "    tail->chain = dbk_group_chain(tail->chain, group->bytes);\n",
     "",
     "groups do not chain"),
    ("log/write.c",
     "        tail->soiled = true;\n",
     "",
     "what a failed write left is not taken away"),
    ("log/write.c",
     "    int rc = tail->synced_size < tail->size ? sync_tail(log, err) : DBK_OK;\n",
     "    int rc = DBK_OK;\n",
     "a segment is sealed before it is synced"),
    ("log/write.c",
     "        atomic_store(&log->stopped, true);\n"
     "        return dbk_error_set(err, DBK_EUNKNOWN,",
     "        return dbk_error_set(err, DBK_EUNKNOWN,",
     "the writer goes on behind a failed sync"),
    ("log/write.c",
     "    header.previous_chain = tail->chain;\n",
     "",
     "a segment does not say the chain of the one before"),
    ("log/write.c",
     "        log->tail = before; /* so",
     "        before = log->tail; /* so",
     "groups behind a failed sync go on from what is not readable"),
    ("log/recover.c",
     "    if (!survey->noted || note->size <= DBK_SEGMENT_HEADER_SIZE)\n",
     "    if (survey->noted || note->size <= DBK_SEGMENT_HEADER_SIZE)\n",
     "recovery does not heed the note"),
    ("log/recover.c",
     "            header.synced_size > bad)",
     "            header.synced_size > bad + 1000000)",
     "recovery cuts what had been synced"),
    ("log/recover.c",
     "    if (survey->kept_size > 0)\n"
     "        return carry_over",
     "    if (survey->kept_size > 1000000)\n"
     "        return carry_over",
     "recovery cuts whole groups behind the floor"),
    ("log/recover.c",
     "    rc = write_kept(log, survey, old->header.salt, segment, &log->tail, err);\n",
     "    rc = DBK_OK;\n",
     "recovery's new segment is empty"),
    ("log/recover.c",
     "        rc = dbk_segment_settle(log->os, log->folder, segment, &named, err);\n"
     "    if (rc < 0) {\n"
     "        dbk_segment_free(log->os, segment);\n"
     "        return rc;\n"
     "    }\n"
     "    if (header.ordinal",
     "        rc = log->os->rename(log->os, \"x\", \"y\", err);\n"
     "    if (rc < 0) {\n"
     "        dbk_segment_free(log->os, segment);\n"
     "        return rc;\n"
     "    }\n"
     "    if (header.ordinal",
     "recovery's new segment never gets its name"),
    ("log/recover.c",
     "    if (header->chain != tail->chain || header->first_position",
     "    if (header->first_position",
     "recovery does not look at chains"),
    ("log/segment.c",
     "    int rc = os->sync(os, &segment->file, err);\n"
     "    if (rc == DBK_OK)\n"
     "        rc = os->rename",
     "    int rc = DBK_OK;\n"
     "    if (rc == DBK_OK)\n"
     "        rc = os->rename",
     "a new segment gets its name unsynced"),
    ("log/segment.c",
     "    return os->sync_folder(os, folder, err);",
     "    return DBK_OK;",
     "a new segment's name is not made durable"),
    ("log/load.c",
     "        b->previous_crc != dbk_segment_header_identity(a) ||\n",
     "",
     "an exchanged segment is not noticed"),
    ("log/scan.c",
     "    if (scan->chained)\n"
     "        scan->chain = dbk_group_chain(scan->chain, bytes.data);\n",
     "",
     "a scan does not follow chains"),
    ("log/compact.c",
     "    return rc == DBK_OK ? os->sync(os, &packing->file, err) : rc;",
     "    return rc;",
     "a compacted segment gets its name unsynced"),
    ("log/compact.c",
     "    event->flags |= DBK_RECORD_REMOVED;\n",
     "",
     "a removed event looks like one with its digest as data"),
    ("log/record.c",
     "    if (dbk_record_content(removed, kept) < 0)\n"
     "        return false;\n",
     "    if (dbk_record_content(removed, kept) < 0)\n"
     "        return false;\n"
     "    if (removed->version > 0)\n"
     "        return true;\n",
     "a removed event counts as known whatever it held"),
    ("proof/proof.c",
     "        rc = os->sync(os, &file, err);\n"
     "    os->close",
     "        rc = DBK_OK;\n"
     "    os->close",
     "a signing key is used before it is durable"),
    ("proof/checkpoints.c",
     "        rc = os->sync(os, &checkpoints->file, err);\n",
     "        rc = DBK_OK;\n",
     "a checkpoint is handed out before it is durable"),
    ("proof/proof.c",
     "    uint64_t synced = dbk_log_synced_position(dbk_store_log(proof->store));\n",
     "    uint64_t synced = dbk_store_last_position(proof->store);\n",
     "what is not synced is signed"),
    ("log/compact.c",
     "    dbk_put_u32(place, (uint32_t)(packing->size + packing->group.size));",
     "    dbk_put_u32(place, (uint32_t)(packing->size + packing->group.size"
     " + packing->count));",
     "places of a compacted segment are wrong"),
    ("index/chunk.c",
     "    if (slot->last == DBK_CHUNK_NONE)\n"
     "        slot->first = index;\n"
     "    else\n"
     "        chunk->postings[slot->last].behind = index;",
     "    if (slot->last == DBK_CHUNK_NONE)\n"
     "        slot->first = index;",
     "a key's postings in memory are lost"),
    ("index/chunk.c",
     "position <= range->position_max && position > covered)",
     "position > covered)",
     "look-ups do not end where they are told"),
    ("index/chunk.c",
     "        chunk->streams -= chunk->postings[first].rank == 1;\n",
     "",
     "streams of refused batches are counted"),
    ("index/run.c",
     "    if (dbk_get_u32(footer + 56) != dbk_crc32c(0, body))",
     "    if (dbk_get_u32(footer + 56) == 0)",
     "damaged runs are used"),
    ("index/merge.c",
     "dbk_hash128_compare(walks[i].entry.key, walks[best].entry.key) < 0))",
     "dbk_hash128_compare(walks[i].entry.key, walks[best].entry.key) <= 0))",
     "a merge mixes up the order of ranks"),
    ("index/format.h",
     "    for (unsigned shift = 0; shift < 63; shift += 9) {\n"
     "        unsigned bit = (unsigned)(key.low >> shift) & 511;\n"
     "        line",
     "    for (unsigned shift = 0; shift < 45; shift += 9) {\n"
     "        unsigned bit = (unsigned)(key.low >> shift) & 511;\n"
     "        line",
     "filters miss keys that are there"),
    ("index/behind.c",
     "    bool merge = chunk == NULL && find_merge(index, &at);",
     "    bool merge = chunk == NULL && find_merge(index, &at) && at > 1000;",
     "runs are never merged"),
    ("index/files.c",
     "        if (found[i].first == next && found[i].last <= last)",
     "        if (found[i].first == next)",
     "runs of what was never synced are used"),
    ("store/accept.c",
     "                              .position_min = condition->after + 1,",
     "                              .position_min = condition->after + 2,",
     "a condition leaves out the next position"),
    ("store/accept.c",
     "    return (uint64_t)expected == head->version;",
     "    return true;",
     "expected versions are not looked at"),
    ("store/append.c",
     "        dbk_index_cut(store->index, written + 1);\n",
     "",
     "a failed group stays in the index"),
    ("store/append.c",
     "    store->accepted_position = written;\n",
     "",
     "positions have a gap behind a failed group"),
    ("store/append.c",
     "    dbk_store_forget_heads(store);\n"
     "    tell(&store->written",
     "    tell(&store->written",
     "versions have a gap behind a failed group"),
    ("store/match.c",
     "        list->rank_min = last + 1;",
     "        list->rank_min = last + 2;",
     "a list of postings loses one where it goes on"),
    ("store/match.c",
     "        if (position > 0 && (best == 0 || is_before(match, position, best)))",
     "        if (position > 0 && best == 0)",
     "of several types only the first is looked at"),
    ("store/rules.c",
     "    info->exists = info->version >= info->first;",
     "    info->exists = true;",
     "a deleted stream exists"),
    ("store/rules.c",
     "        if (first > 1 && wanted.truncate_before < first)\n"
     "            wanted.truncate_before = first;\n",
     "",
     "what was left out comes back"),
    ("store/compact.c",
     "            if (postings[i].rank >= first && postings[i].position > position_max)",
     "            if (postings[i].rank > first && postings[i].position > position_max)",
     "compaction removes an event too many"),
    ("log/segment.c",
     "    if (part == NULL || range->offset + range->size_min > part->bytes.size)",
     "    if (part == NULL || range->offset > part->bytes.size)",
     "a part is read past its end"),
    ("store/append.c",
     "    if (store->filling.members != NULL)\n        promote(store->filling.members);\n",
     "",
     "nobody leads the next group"),
    ("store/append.c",
     "        if (!member->waits)\n            continue;\n        member->waits = false;\n",
     "        if (!member->waits || member->next != NULL)\n            continue;\n"
     "        member->waits = false;\n",
     "not all are woken"),
    ("store/cursor.c",
     "        if (position == 0 || position < cursor->filter.position_min ||\n"
     "            position > cursor->filter.position_max)\n            break;\n"
     "        cursor->next",
     "        if (position == 0 || position < cursor->filter.position_min ||\n"
     "            position >= cursor->filter.position_max)\n            break;\n"
     "        cursor->next",
     "a cursor that looks ahead stops early"),
    ("group/deliver.c",
     "        if (entry->state == DBK_ENTRY_LEASED && entry->due_us <= now)",
     "        if (entry->state == DBK_ENTRY_LEASED && entry->due_us <= now - 10000000)",
     "leases last too long"),
    ("group/deliver.c",
     "        if (group->parked[i].stream == entry->stream)\n            return true;",
     "        if (group->parked[i].stream == entry->stream)\n            return false;",
     "an event overtakes a parked one of its stream"),
    ("group/save.c",
     "        if (entry->state == DBK_ENTRY_DONE)\n            continue;",
     "        if (entry->state != DBK_ENTRY_READY)\n            continue;",
     "what is leased is forgotten by a restart"),
    ("group/parked.c",
     "        group->parked_after = group->parked_version + 1;",
     "        group->parked_after = group->parked_version + 2;",
     "the next parked event is forgotten"),
    ("group/deliver.c",
     "            if (!dbk_group_is_parked(group, event.position))",
     "            if (true)",
     "what is parked is delivered again when the group moves back"),
]


def check():
    """Faults of the list: edits that do not find their place exactly once."""
    faults = []
    for number, (name, old, new, what) in enumerate(MUTATIONS):
        count = (ROOT / "src" / name).read_text(encoding="utf-8").count(old)
        if count != 1 or old == new:
            faults.append(f"{number}: {name}: found {count} times: {old[:60]!r} ({what})")
    return faults


def notices(tree):
    """The first test that fails, "the build", or None."""
    built = subprocess.run(["ninja", "-C", tree / "build", *[f"tests/{t}" for t in TESTS],
                            "tests/torture/states"], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        return "the build"
    commands = [[tree / "build" / "tests" / test] for test in TESTS]
    commands += [[tree / "build" / "tests" / "torture" / "states", *args] for args in STATES]
    for command in commands:
        try:
            ran = subprocess.run(command, capture_output=True, timeout=120, check=False)
            failed = ran.returncode != 0
        except subprocess.TimeoutExpired:
            failed = True
        if failed:
            return " ".join([command[0].name, *command[1:3]])
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    faults = check()
    for fault in faults:
        print(fault)
    if faults or arguments.check:
        sys.exit(1 if faults else 0)
    wanted = [int(n) for n in arguments.only.split(",") if n] or range(len(MUTATIONS))
    tree = pathlib.Path(tempfile.mkdtemp(prefix="mutations-"))
    for part in ("src", "tests", "include", "tools"):
        shutil.copytree(ROOT / part, tree / part)
    for name in ("meson.build", "meson_options.txt"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    subprocess.run(["meson", "setup", tree / "build", tree], stdout=subprocess.DEVNULL, check=True)
    # What does not compile proves nothing.
    subprocess.run(["meson", "configure", tree / "build", "-Dwerror=false"], check=True,
                   stdout=subprocess.DEVNULL)
    survivors = []
    for number in wanted:
        name, old, new, what = MUTATIONS[number]
        path = tree / "src" / name
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new), encoding="utf-8")
        noticed = notices(tree)
        path.write_text(text, encoding="utf-8")
        print(f"{number:3} {name:16} {what}: {noticed or 'NOBODY NOTICES'}", flush=True)
        if noticed in (None, "the build"):
            survivors.append(number)
    shutil.rmtree(tree)
    print(json.dumps({"mutations": len(wanted), "caught": len(wanted) - len(survivors),
                      "survivors": survivors}))
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
