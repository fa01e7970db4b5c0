# SPDX-License-Identifier: Apache-2.0
"""What the five questions come to: every combination of answers, against the rules in words."""
import itertools
import json
import subprocess

import pytest
from conftest import clean_environment

NAMES = ("independent", "acid", "audit", "complex", "scale", "expensive", "stale")


def advise(binary, *arguments, text=""):
    return subprocess.run([str(binary), "advise", "--ask", "-o", "json", *arguments], input=text,
                          capture_output=True, text=True, timeout=30, check=False,
                          env=clean_environment())


def options(answers, ratio):
    words = ["--ratio", str(ratio)]
    for name, yes in answers.items():
        words += [f"--{name}", "yes" if yes else "no"]
    return words


@pytest.mark.parametrize("ratio", (9, 10))
def test_each_answer_leads_to_its_pattern(binary, ratio):
    for values in itertools.product((False, True), repeat=len(NAMES)):
        if sum(values) % 2 != ratio % 2:  # each combination with one of them
            continue
        answers = dict(zip(NAMES, values))
        result = advise(binary, *options(answers, ratio))
        assert result.returncode == 0, result.stderr
        services, acid, audit, reads, queries = json.loads(result.stdout)
        assert services["pattern"] == ("database per service" if answers["independent"] else "none")
        assert acid["pattern"].startswith("one program") == answers["acid"]
        assert ("contradicts" in acid["because"]) == (answers["acid"] and answers["independent"])
        assert audit["pattern"] == ("event sourcing" if answers["audit"] else "none")
        differ = ratio >= 10 or answers["complex"] or answers["scale"]
        assert reads["pattern"] == ("CQRS" if differ else "don't")
        assert "two models" in reads["price"]
        assert queries["pattern"] == ("materialized view" if answers["expensive"] else "none")
        continuous = answers["expensive"] and not answers["stale"]
        assert ("continuous" in queries["in_the_book"]) == continuous


def test_what_is_not_given_is_asked_for(binary):
    """An answer that is none is asked again; how old is asked only of what is expensive."""
    result = advise(binary, "--acid", "no", text="yes\nno\nmany\n12\nno\nno\nno\n")
    assert result.returncode == 0, result.stderr
    assert [row["yes"] for row in json.loads(result.stdout)] == [True, False, False, True, False]
    assert '"many" is no answer' in result.stderr and "last refresh" not in result.stderr
    result = advise(binary, text="yes\n")
    assert result.returncode == 2 and "--acid yes|no" in result.stderr
