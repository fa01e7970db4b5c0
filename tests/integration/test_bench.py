# SPDX-License-Identifier: Apache-2.0
"""`daybook bench`: every benchmark reports figures beside raw limits, and knows worse from better.

The runs are far too short for their figures to mean anything; what counts is that they are there,
that they fit each other, and that nothing is left behind.
"""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT, clean_environment, missing

sys.path.insert(0, str(ROOT / "tests"))
from services.ferretdb import FerretDB  # noqa: E402
from services.neo4j import Neo4j  # noqa: E402
from services.postgres import Missing, Postgres  # noqa: E402

SMALL = ["--events", "3000", "--streams", "300", "--size", "100"]
PERCENTILES = ["p50", "p90", "p99", "p999", "max"]
PARTS = {"append": ["raw", "ratio"], "read": ["raw", "ratio"], "stream": ["rate"],
         "state": ["rate"], "model": ["raw", "ratio"], "open": ["rate"]}
LATENCIES = {"append": ["latency_us"], "read": [], "stream": ["latency_us", "head_latency_us"],
             "state": ["latency_us"], "model": ["visible_us"],
             "open": ["open_us", "first_append_us"]}


@pytest.fixture
def bench(binary, tmp_path):
    def run(*arguments, status=0):
        result = subprocess.run([binary, "bench", *arguments], text=True, capture_output=True,
                                timeout=60, check=False, cwd=tmp_path, env=clean_environment())
        assert result.returncode == status, result.stderr
        return result
    return run


def report_of(result):
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", PARTS)
def test_each_reports_figures_limits_and_environment(bench, tmp_path, name):
    report = report_of(bench(name, *SMALL, "-o", "json"))
    assert report["bench"] == name
    assert report["settings"]["size"] == 100
    for part in PARTS[name]:
        assert report[part]
        assert all(isinstance(value, dict) or value > 0 for value in report[part].values())
    for part in LATENCIES[name]:
        values = [report[part][point] for point in PERCENTILES]
        assert values == sorted(values) and values[0] > 0
    environment = report["environment"]
    for key in ["processor", "cores", "kernel", "filesystem", "sync", "build"]:
        assert environment[key]
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_schema_reads_old_versions_in_each_way(bench, tmp_path):
    """That all ways come to the same states is the benchmark's own check: it fails else."""
    report = report_of(bench("schema", *SMALL, "-o", "json"))
    for way in ["steps", "lua", "c", "migrated"]:
        for reading in ["cursor", "json", "fold_in_c", "fold_in_lua"]:
            assert report[way][f"{reading}_ns"] > 0 and report[way][f"{reading}_ratio"] > 0
    assert report["versioned"]["fold_in_lua_ratio"] > 0
    assert report["migrated"]["once_seconds"] > 0
    assert [way for way in ["steps", "lua", "c", "versioned", "migrated"]
            if report[way]["original_remains"] != "yes"] == ["migrated"]
    for step in ["none", "add", "rename", "remove", "convert"]:
        assert report["step"][f"{step}_json_ns"] > 0 and report["step"][f"{step}_json_ratio"] > 0
    assert list(report["chain_ns"]) == [str(versions) for versions in range(1, 11)]
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_append_appends_what_it_was_asked_for(bench):
    report = report_of(bench("append", "--events", "700", "--batch", "7", "--writers", "3",
                             "--fill", "1000", "-o", "json"))
    assert report["events"] == 700
    assert report["settings"] == {"writers": 3, "batch": 7, "size": 200, "streams": 1000,
                                  "fill": 1000}
    rate = report["events_per_second"] / 7 / report["raw"]["syncs_per_second"]
    assert report["ratio"]["sync"] == pytest.approx(rate, rel=0.05, abs=0.002)


def test_guarded_appends_are_held_against_those_that_are_not(bench):
    report = report_of(bench("append", "--writers", "4", "--guarded", "10", "--events", "2000",
                             "--fill", "1000", "-o", "json"))
    assert report["events"] == 1000 and report["guarded_appends_per_second"] > 0
    assert report["ratio"]["guarded"] > 0 and report["guarded_latency_us"]["p50"] > 0


def test_large_batches_are_held_against_the_sequential_limit(bench):
    report = report_of(bench("append", "--events", "2000", "--batch", "1000", "-o", "json"))
    assert report["ratio"]["sequential"] > 0
    assert report["settle_seconds"] <= report["seconds"]


def test_counts_fit(bench):
    assert report_of(bench("read", *SMALL, "-o", "json"))["events"] == 3000
    assert report_of(bench("state", *SMALL, "-o", "json"))["events"] == 3000
    assert report_of(bench("stream", *SMALL, "-o", "json"))["events_a_read"] == 10
    opened = report_of(bench("open", *SMALL, "--kills", "2", "-o", "json"))
    assert opened["events"] > 3002 and opened["anonymous_bytes"] > 0


def test_what_keys_cost_stands_beside_what_is_asked_without(bench, tmp_path):
    report = report_of(bench("access", "--requests", "400", "--keys", "20", "-o", "json"))
    assert report["settings"] == {"requests": 400, "keys": 20, "scopes": 64}
    for part in ("no_key_us", "one_scope_us", "many_scopes_us"):
        values = [report[part][point] for point in PERCENTILES]
        assert values == sorted(values) and values[0] > 0
    assert all(value > 0 for value in report["rate"].values()) and len(report["rate"]) == 3
    assert not list(tmp_path.iterdir())


def test_a_table_has_a_line_a_figure(bench):
    lines = bench("stream", *SMALL).stdout.splitlines()
    assert lines[0].split() == ["bench", "stream"]
    assert any(line.startswith("latency_us p999 ") for line in lines)


def test_a_kept_store_is_used_again(bench, tmp_path):
    bench("read", *SMALL, "--store", "kept")
    before = (tmp_path / "kept" / "filled").stat().st_mtime_ns
    assert report_of(bench("stream", *SMALL, "--store", "kept", "-o", "json"))["reads"] == 20000
    assert (tmp_path / "kept" / "filled").stat().st_mtime_ns == before
    other = bench("read", "--events", "10", "--store", "kept", status=1)
    assert ("--store kept holds 3000 events in 300 streams, 100 bytes each, not 10 events in "
            "50000 streams, 200 bytes each") in other.stderr


def test_a_half_filled_store_is_refused(bench, tmp_path):
    bench("read", *SMALL, "--store", "kept")
    (tmp_path / "kept" / "filled").unlink()
    half = bench("read", *SMALL, "--store", "kept", status=1)
    assert "--store kept holds events that no benchmark has finished writing" in half.stderr


def test_a_regression_is_found_and_named(bench, tmp_path):
    before = report_of(bench("stream", *SMALL, "-o", "json"))
    file = tmp_path / "before.json"
    before["rate"] = {"reads_per_second": 1, "heads_per_second": 1}
    file.write_text(json.dumps(before))
    better = bench("stream", *SMALL, "--baseline", str(file))
    assert "rate reads_per_second: 1 before, " in better.stderr
    before["rate"]["reads_per_second"] = 1e12
    file.write_text(json.dumps(before))
    worse = bench("stream", *SMALL, "--baseline", str(file), "--noise", "50", status=1)
    last = worse.stderr.splitlines()[-1]
    assert "by more than 50 %: rate reads_per_second fell from 1e+12 to " in last
    assert "heads_per_second" not in last
    assert worse.stdout, "the report is shown all the same"


def test_baselines_that_cannot_be_compared_are_refused(bench, tmp_path):
    file = tmp_path / "before.json"
    for text, message in [("{", "before.json: "),
                          ('{"bench":"read"}', "it is of daybook bench read, not of bench stream"),
                          ('{"bench":"stream","settings":{"events":5}}',
                           "its events is 5, this run's 3000")]:
        file.write_text(text)
        assert message in bench("stream", *SMALL, "--baseline", str(file), status=1).stderr
    assert "nowhere.json" in bench("read", "--baseline", "nowhere.json", status=1).stderr


@pytest.mark.parametrize("arguments, message", [
    (["append", "--writers", "0"], "--writers is from 1 to 1024"),
    (["append", "--writers", "1025"], "--writers is from 1 to 1024"),
    (["append", "--batch", "10001"], "--batch is from 1 to 10000"),
    (["append", "--size", "49"], "--size is from 50 to 1000000"),
    (["append", "--streams", "0"], "--streams is from 1 to 1000000000"),
    (["append", "--seconds", "0"], "--seconds is from 1 to 86400"),
    (["append", "--events", "10", "--seconds", "1"], "give --events or --seconds, not both"),
    (["append", "--events", "10", "--batch", "3"],
     "--events is a multiple of --batch, which is 3"),
    (["append", "--noise", "5"], "--noise goes with --baseline"),
    (["append", "--noise", "100"], "--noise is from 0 to 99"),
    (["append", "--seconds", "soon"], "--seconds"),
    (["read", "--events", "0"], "--events is from 1 to 1000000000"),
    (["read", "--dir", ".", "--store", "x"], "give --dir or --store, not both"),
    (["stream", "--reads", "0"], "--reads is from 1 to 100000000"),
    (["state", "--size", "100001"], "--size is from 50 to 100000"),
    (["open", "--kills", "0"], "--kills is from 1 to 10000"),
    (["model", "--store", "x"], "--store")])
def test_bad_options_are_named(bench, arguments, message):
    assert message in bench(*arguments, status=2).stderr


def test_a_folder_that_is_not_there_is_named(bench):
    assert "nowhere" in bench("append", "--dir", "nowhere", status=1).stderr


@pytest.mark.parametrize("arguments", [["append", "--seconds", "600"],
                                       ["read", "--events", "900000000"],
                                       ["open", "--events", "900000000"]])
def test_an_interrupt_ends_it_and_leaves_nothing(binary, tmp_path, arguments):
    process = subprocess.Popen([binary, "bench", *arguments], text=True, cwd=tmp_path,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, env=clean_environment())
    try:
        for _ in range(200):
            if any(tmp_path.glob("daybook-bench-*/data")):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1
    assert errors == "daybook: interrupted\n"
    assert not list(tmp_path.iterdir())


SHORT = ["--rate", "50", "--seconds", "1", "--rows", "2500", "--size", "60"]
SYNCS = {"transaction": ("transaction", "book", "SQLite"), "events": ("events", "book", "SQLite"),
         "cdc": ("cdc", "SQLite", "SQLite"), "polling": ("polling", "SQLite", "SQLite")}
SERVED = {"events_to_server": ("events", "book", "PostgreSQL"),
          "cdc_from_server": ("cdc", "PostgreSQL", "SQLite"),
          "cdc_of_servers": ("cdc", "PostgreSQL", "PostgreSQL"),
          "polling_of_servers": ("polling", "PostgreSQL", "PostgreSQL")}


def served(make):
    try:
        server = make()
    except Missing as error:
        missing(str(error))
    yield server
    server.close()


@pytest.fixture(scope="module")
def postgres():
    yield from served(lambda: Postgres(settings=["wal_level = logical"]))


@pytest.fixture(scope="module")
def ferretdb():
    yield from served(FerretDB)


@pytest.fixture(scope="module")
def neo4j():
    yield from served(Neo4j)


def check_latency(values):
    values = [values[point] for point in PERCENTILES]
    assert values == sorted(values) and values[-1] > 0


def check_syncs(report, wanted):
    """That every row gets through, in every sync, is the benchmark's own check: it fails else."""
    assert {name: (sync["sync"], sync["source"], sync["target"])
            for name, sync in report["syncs"].items()} == wanted
    for sync in report["syncs"].values():
        check_latency(sync["stale_us"])
        for who in ("alone", "followed"):
            check_latency(sync[who]["latency_us"])
            assert sync[who]["commits_per_second"] > 0
    for part in ("ratio", "rate"):
        assert set(report[part]) == set(wanted) and min(report[part].values()) > 0
    assert report["raw"]["syncs_per_second"] > 0


def test_the_four_syncs_stand_beside_each_other(bench, tmp_path):
    report = report_of(bench("sync", "--commits", "40", "--every", "200ms", *SHORT, "-o", "json"))
    check_syncs(report, SYNCS)
    # Polling is late by its rounds, and transaction by nothing but the reader's looks.
    stale = {name: sync["stale_us"]["p50"] for name, sync in report["syncs"].items()}
    assert 20_000 < stale["polling"] < 400_000
    assert stale["transaction"] < 20_000
    assert report["settings"]["every_ms"] == 200
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_the_four_syncs_as_a_table(bench):
    table = bench("sync", "--commits", "10", "--every", "20ms", *SHORT).stdout.splitlines()
    assert table[0].split()[:4] == ["sync", "source", "target", "stale"]
    assert [line.split()[:3] for line in table[2:6]] == [list(way) for way in SYNCS.values()]
    assert any(line.startswith("environment cores") for line in table)


def run_on(postgres, binary, folder, *arguments):
    result = subprocess.run(
        [binary, "bench", *arguments, "--postgres", "env:SERVER", "-o", "json"], text=True,
        capture_output=True, timeout=120, check=False, cwd=folder,
        env={**clean_environment(), "SERVER": postgres.connection()})
    assert result.returncode == 0, result.stderr
    # What was made on the server is gone.
    assert postgres.sql("SELECT datname FROM pg_database WHERE datname LIKE 'daybook%'") == []
    assert postgres.sql("SELECT slot_name FROM pg_replication_slots") == []
    assert not list(folder.iterdir())
    return report_of(result)


def test_the_syncs_of_a_server(postgres, binary, tmp_path):
    report = run_on(postgres, binary.resolve(), tmp_path, "sync", "--commits", "40", "--every",
                    "100ms", *SHORT)
    check_syncs(report, {**SYNCS, **SERVED})


def run_elsewhere(ferretdb, neo4j, binary, folder, *arguments):
    """On both servers; what was made there is gone."""
    result = subprocess.run(
        [binary, "bench", *arguments, "--mongodb", "env:DOCUMENTS", "--neo4j", "env:GRAPH", "-o",
         "json"], text=True, capture_output=True, timeout=180, check=False, cwd=folder,
        env={**clean_environment(), "DOCUMENTS": ferretdb.connection(),
             "GRAPH": neo4j.connection()})
    assert result.returncode == 0, result.stderr
    databases = ferretdb.command({"listDatabases": 1}, "admin")["databases"]
    assert [one["name"] for one in databases if "bench" in one["name"]] == []
    assert neo4j.cypher("MATCH (n) RETURN count(n)") == [[0]]
    assert neo4j.cypher("SHOW CONSTRAINTS YIELD name WHERE name CONTAINS 'bench' "
                        "RETURN name") == []
    assert not list(folder.iterdir())
    return report_of(result)


def test_the_syncs_into_documents_and_a_graph(ferretdb, neo4j, binary, tmp_path):
    report = run_elsewhere(ferretdb, neo4j, binary.resolve(), tmp_path, "sync", "--commits", "10",
                           "--every", "100ms", "--rate", "50", "--seconds", "1", "--rows", "300")
    check_syncs(report, {**SYNCS, **{
        f"{sync}_to_{kind.lower()}": (sync, "book" if sync == "events" else "SQLite", kind)
        for kind in ("MongoDB", "Neo4j") for sync in ("events", "cdc", "polling")}})


def test_models_in_servers_stand_beside_what_is_sent_by_hand(ferretdb, neo4j, binary, tmp_path):
    report = run_elsewhere(ferretdb, neo4j, binary.resolve(), tmp_path, "model", "--events", "300",
                           "--server-events", "300", "--hand-updates", "50")
    for name in [f"{kind}_{task}" for kind in ("mongodb", "neo4j")
                 for task in ("inserts", "updates")]:
        found = report[name]
        assert found["events"] == 240 and found["batches"] >= 4
        ratio = found["events_per_second"] / found["by_hand_per_second"]
        assert report["ratio"][name] == pytest.approx(ratio, rel=0.05, abs=0.005)


WAYS = ["sqlite_to_book", "sqlite_to_sqlite"]
SERVED_WAYS = ["postgres_to_book", "postgres_to_sqlite", "postgres_to_postgres"]


def check_ways(report, wanted):
    assert list(report["late_us"]) == list(report["rate"]) == wanted
    for late in report["late_us"].values():
        check_latency(late)
    assert min(report["rate"].values()) > 0


def test_capture_into_the_book_and_on(bench, tmp_path):
    check_ways(report_of(bench("capture", *SHORT, "-o", "json")), WAYS)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_capture_of_a_server(postgres, binary, tmp_path):
    check_ways(run_on(postgres, binary.resolve(), tmp_path, "capture", *SHORT), WAYS + SERVED_WAYS)


@pytest.mark.parametrize("name", ["sync", "capture"])
def test_a_postgres_that_cannot_be_had_is_named(bench, tmp_path, name):
    secret = tmp_path.parent / "secret"
    secret.write_text("host=127.0.0.1 port=1 password=hidden\n", encoding="utf-8")
    few = ["--rate", "10", "--seconds", "1", "--rows", "10"]
    for where, words in [("host=here", "file:PATH or env:NAME"),
                         ("env:NOT_THERE", "there is no such variable"),
                         ("file:not-there", "not-there"),
                         (f"file:{secret}", "connect")]:
        result = bench(name, *few, *(["--commits", "10"] if name == "sync" else []), "--postgres",
                       where, status=3 if words == "connect" else 1)
        assert words in result.stderr and "hidden" not in result.stderr
    bench(name, "--rate", "0", status=2)
    assert not [file for file in os.listdir(tmp_path) if file.startswith("daybook-bench")]


@pytest.mark.parametrize("option, secret", [
    ("--mongodb", "mongodb://somebody:hidden@127.0.0.1:1/x?serverSelectionTimeoutMS=200"),
    ("--neo4j", "http://somebody:hidden@127.0.0.1:1/neo4j")])
def test_another_server_that_cannot_be_had_is_named(bench, tmp_path, option, secret):
    few = ["sync", "--rate", "10", "--seconds", "1", "--rows", "10", "--commits", "10"]
    file = tmp_path.parent / "secret"
    file.write_text(secret + "\n", encoding="utf-8")
    for where, words, status in [("here", f"{option} says where", 1),
                                 ("env:NOT_THERE", "there is no such variable", 1),
                                 (f"file:{file}", "", 3)]:
        result = bench(*few, option, where, status=status)
        assert words in result.stderr and "hidden" not in result.stderr
    assert not list(tmp_path.iterdir())


PATTERNS = ["database_per_service", "shared_database", "event_sourcing", "cqrs",
            "materialized_view"]


def test_patterns_are_compared_by_one_shop(bench, tmp_path):
    """That readers find what was written is the benchmark's own check: it fails else."""
    small = ["--orders", "200", "--paced", "10", "--pages", "20", "--readers", "4", "--seconds",
             "1", "--dir", str(tmp_path)]
    report = report_of(bench("patterns", *small, "-o", "json"))
    assert list(report["patterns"]) == PATTERNS
    for name, pattern in report["patterns"].items():
        assert pattern["orders_per_second"] > 0 and pattern["bytes_an_order"] > 0
        assert pattern["beside_readers"]["orders_per_second"] > 0
        assert pattern["beside_readers"]["reads_per_second"] > 0
        assert 0 < pattern["new_field"]["lines"] < pattern["definition_lines"]
        assert pattern["new_field"]["orders"] > 200
        assert ("summary_us" in pattern) == (name != "event_sourcing")
        late = pattern["stale_us"]["p50"]
        assert (late == 0) == (name in ["shared_database", "event_sourcing"]), (name, late)
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_patterns_are_drawn(bench, tmp_path):
    out = bench("patterns", "--orders", "100", "--paced", "2", "--pages", "2", "--readers", "0",
                "--dir", str(tmp_path)).stdout
    assert "shared database  " in out and "bytes an order" in out
    assert sum("━" in line for line in out.splitlines()) >= 12
