# SPDX-License-Identifier: Apache-2.0
"""The binary tells its version, and how to use each of its commands; wrong use is status 2."""
import re
import subprocess

import pytest

from conftest import clean_environment

COMMANDS = """new check serve demo do get append read tail log
trace state import sql model-ls model-show
model-read model-rebuild model-as-of view-ls view-show view-read view-refresh bench-append
impact service-ls service-show schema-ls schema-check schema-diff schema-infer
bench-read bench-stream bench-state bench-model bench-open migrate-status migrate-report
migrate-switch migrate-undo migrate-verify migrate-position migrate""".split()


def run(binary, *arguments):
    return subprocess.run([binary, *arguments], text=True, capture_output=True, timeout=30,
                          check=False, env=clean_environment())


def test_version(binary):
    result = run(binary, "--version")
    assert result.returncode == 0
    assert re.fullmatch(r"daybook \d+\.\d+\.\d+\n", result.stdout)


def test_help_names_every_command(binary):
    result = run(binary, "help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert command.replace("-", " ", 1) in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(binary, command):
    words = command.split("-", 1)
    result = run(binary, *words, "--help")
    assert result.returncode == 0, result.stderr
    assert "daybook " + " ".join(words) in result.stdout
    assert run(binary, "help", *words).stdout == result.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["state"], ["read", "--nonsense"],
                                       ["read", "--limit", "many"], ["model"]])
def test_wrong_use_is_status_2(binary, arguments):
    result = run(binary, *arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stdout == ""
    assert result.stderr.strip()
