# SPDX-License-Identifier: Apache-2.0
"""Everything at once: what readers see stays whole, and adds up in the end.

Writers, readers, rebuilds, refreshes and tails share one server for a few seconds. The oracle is
the log: each balance in the read model is the sum of its account's events, each tail is 1, 2, 3, ….
"""
import json
import random
import threading
import time
import urllib.request

SECONDS = 3
WRITERS = 12
ACCOUNTS = 6
SUMS = """
select account, balance, (select sum(case type when 'Deposited' then json_extract(data, '$.amount')
    when 'Withdrawn' then -json_extract(data, '$.amount') else 0 end)
    from events where stream = 'account-' || account) summed
from balances order by account
"""


def work(server, number, end, seen):
    chance = random.Random(number)
    while time.monotonic() < end:
        account = str(chance.randrange(ACCOUNTS))
        kind = chance.randrange(8)
        if kind < 3:
            status = server.post("/commands/Deposit", {"account": account,
                                                       "amount": chance.randrange(1, 100)}).status
        elif kind < 5:
            status = server.post("/commands/Withdraw", {"account": account,
                                                        "amount": chance.randrange(1, 300)}).status
        elif kind == 5:
            status = server.post(f"/streams/account-{account}",
                                 {"type": "Withdrawn", "data": {"amount": 100000}}).status
            assert status == 422
        elif kind == 6:
            answer = server.get(f"/queries/GetBalance?account={account}")
            status = answer.status
            assert len(answer.json["rows"]) == 1
        else:
            status = server.get(f"/streams/account-{account}/state").status
        seen.append(status)


def administer(server, end, seen):
    while time.monotonic() < end:
        seen.append(server.post("/models/balances/rebuild").status)
        seen.append(server.post("/views/bank_totals/refresh").status)
        seen.append(server.get("/metrics").status)


def follow(server, end, positions):
    request = urllib.request.Request(server.url + "/events?after=0",
                                     headers={"Accept": "text/event-stream"})
    with urllib.request.urlopen(request, timeout=60) as stream:
        for line in stream:
            if line.startswith(b"id:"):
                positions.append(int(line[3:]))
            if time.monotonic() > end:
                return


def test_everything_at_once_adds_up(bank, serve):
    server = serve(bank)
    for account in range(ACCOUNTS):
        assert server.post("/commands/Open", {"account": str(account)}).status == 200
    end = time.monotonic() + SECONDS
    statuses, tails = [], [[], []]
    threads = [threading.Thread(target=work, args=(server, i, end, statuses))
               for i in range(WRITERS)]
    threads.append(threading.Thread(target=administer, args=(server, end, statuses)))
    threads += [threading.Thread(target=follow, args=(server, end, tail), daemon=True)
                for tail in tails]
    for thread in threads:
        thread.start()
    for thread in threads[:-len(tails)]:
        thread.join()
    assert set(statuses) <= {200, 409, 422}
    assert statuses.count(200) > 50
    for tail in tails:
        assert tail == list(range(1, len(tail) + 1)) and len(tail) > 50
    rows = json.loads(server.post("/sql", {"sql": SUMS}).text)["rows"]
    assert len(rows) == ACCOUNTS
    for row in rows:
        assert row["balance"] == row["summed"]


def test_a_killed_server_has_what_it_acknowledged(bank, serve):
    acknowledged = {}
    for round_number in range(4):
        server = serve(bank)
        stop = threading.Event()

        def append(number):
            count = 0
            while not stop.is_set():
                stream = f"account-k{round_number}-{number}"
                body = {"type": "AccountOpened" if count == 0 else "Deposited",
                        "data": {"id": stream[8:]} if count == 0 else {"amount": 1}}
                try:
                    answer = server.post("/streams/" + stream, body)
                except OSError:
                    return
                assert answer.status == 201
                count += 1
                acknowledged[stream] = count

        threads = [threading.Thread(target=append, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.2 + 0.13 * round_number)
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
    rows = bank.json("sql", "select stream, count(*) n, max(version) last from events group by 1")
    stored = {row["stream"]: row for row in rows}
    for stream, count in acknowledged.items():
        assert stored[stream]["n"] == stored[stream]["last"]
        assert count <= stored[stream]["n"] <= count + 1  # the last one may not have been heard
    for row in bank.json("sql", SUMS):
        assert row["balance"] == row["summed"]
