"""The command as a whole: quick help, one line for whatever cannot be done, and its exit code."""

import os
import resource
import subprocess
import sys

import pytest
from nano import NANO, nano, refused

from harness.cli import app
from harness.errors import NanoR1Error
from harness.tracks.track import ROOT

COMMANDS = (
    "tracks", "tasks", "ledger", "new", "check", "train", "eval", "regrade", "verify", "reproduce", "audit",
    "leaderboard", "keygen", "doctor", "power",
)  # fmt: skip


def test_help_is_quick_and_names_every_command():
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*NANO, "--help"], cwd=ROOT, capture_output=True, encoding="utf-8")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    for command in COMMANDS:
        assert f"\n  {command} " in done.stdout
    assert min(seconds) < 0.3  # of processor time, 0.12 s on an idle core; the suite may run beside other work


def test_help_imports_nothing_heavy():
    heavy = "('torch', 'transformers', 'scipy', 'numpy', 'matplotlib', 'pydantic', 'cryptography', 'rich')"
    probe = f"import sys, harness.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("frobnicate", ["no such command 'frobnicate'", "nano-r1 --help"]),
        ("--frob", ["no such option: --frob", "nano-r1 --help"]),
        ("tracks nope", ["no such command 'nope'", "nano-r1 tracks --help"]),
        ("train", ["missing argument 'FOLDER'", "nano-r1 train --help"]),
        ("doctor extra", ["unexpected", "extra", "nano-r1 doctor --help"]),
        ("verify --foo", ["no such option: --foo", "nano-r1 verify --help"]),
        ("verify baseline --runs 0", ["--runs", "greater than or equal to 1"]),
        ("verify baseline --runs x", ["--runs", "integer"]),
        ("verify baseline --track nope", ["no track 'nope'", "cpu-logic"]),
        ("verify baseline --key {}/none", ["none: there is no such key", "keygen"]),
        ("verify {}/none", ["none is not a folder", "nano-r1 new"]),
        ("verify {}/file", ["file is not a folder", "nano-r1 new"]),
        ("verify {}", ["no train.py", "nano-r1 new"]),
        ("train baseline --seed -1", ["--seed", "greater than or equal to 0"]),
        ("train baseline --output {}/file", ["file is not a folder", "--output"]),
        ("train baseline-gpu", ["for several tracks", "--track"]),
        ("eval --model {}/none", ["none does not exist", "--model takes"]),
        ("eval --model {}", ["model.safetensors does not exist", "--model takes"]),
        ("eval --model {}/file", ["file cannot be evaluated", "is 3 bytes long"]),
        ("eval --suite nope --model baseline", ["no suite 'nope'", "suites: logic"]),
        ("eval --suite logic", ["name the model", "--model"]),
        ("regrade {}/none", ["none does not exist", "nano-r1 eval --suite"]),
        ("check", ["name submission folders", "--against"]),
        ("check {}/none", ["none is not a folder"]),
        ("check --against nope", ["nope"]),
        ("new Bad_Name", ["'Bad_Name' is not a name", "lower-case"]),
        ("audit --ledger {}/file", ["file is not a folder", "--ledger"]),
        ("audit --checkpoint {}/none", ["none is not a file", "--checkpoint"]),
        ("leaderboard --ledger {}/none", ["none is not a folder", "--ledger"]),
        ("reproduce {}", ["record.json is missing", "records/"]),
        ("keygen a/b --key {}/key", ["'a/b' is not an identity"]),
        ("keygen a --key {}/file", ["file exists", "--key FILE"]),
        ("tracks plan cpu-logic", ["runs on CPUs", "docs/tracks/cpu-logic.md"]),
        ("tracks fetch nope", ["no track 'nope'", "cpu-logic"]),
        ("tasks show nope", ["no task or fixed set 'nope'", "nano-r1 tasks list"]),
        ("tasks show frontiermath", ["frontiermath is not public"]),
        ("tasks validate", ["name the tasks", "--all"]),
        ("tasks overlap nope nim", ["no set of questions 'nope'", "countdown/train"]),
        ("ledger status x", ["missing argument 'STATUS'", "nano-r1 ledger status --help"]),
        ("ledger show --ledger {}/none", ["none is not a folder", "--ledger"]),
    ],
)
def test_a_wrong_command_line_is_one_line(tmp_path, line, words):
    (tmp_path / "file").write_text("hi\n", encoding="utf-8")
    done = nano(*line.format(*[tmp_path] * line.count("{}")).split())
    refused(done, *words)
    assert done.stdout == "" and done.stderr.startswith("nano-r1: ") and done.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "state") == ["file"]


@pytest.mark.parametrize("arguments", [(), ("tasks",), ("ledger",)])
def test_a_group_without_a_command_prints_its_help(arguments):
    done = nano(*arguments)
    assert done.returncode == 2 and done.stderr.startswith("Usage: nano-r1") and "Commands:" in done.stderr


def test_an_error_has_its_exit_code(monkeypatch, capsys):
    class Interrupted(NanoR1Error):
        exit_code = 130

    for error, exit_code in ((NanoR1Error("gone", advice="look"), 2), (Interrupted("stopped\x1b[2J"), 130)):
        assert exit_code_of(monkeypatch, error) == exit_code
    assert capsys.readouterr().err == "nano-r1: gone; look\nnano-r1: stopped\ufffd[2J\n"


def test_errors_that_are_no_nano_r1_error_are_told_from_faults_of_ours(monkeypatch, capsys):
    from harness import client
    from harness.frozen import checkpoint

    assert exit_code_of(monkeypatch, checkpoint.CheckpointError("bad header")) == 2
    assert exit_code_of(monkeypatch, client.SaveError("no weights")) == 2
    assert capsys.readouterr().err == "nano-r1: bad header\nnano-r1: no weights\n"
    for fault in (ValueError("a fault of ours"), RuntimeError("another"), KeyError("a third")):
        with pytest.raises(type(fault)):
            exit_code_of(monkeypatch, fault)


def test_every_error_of_the_client_exists():
    for module, name in app.CLIENT_ERRORS:
        assert issubclass(getattr(__import__(module, fromlist=[name]), name), Exception)


def exit_code_of(monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        app.main()
    return stopped.value.code


def test_no_permission_and_a_full_disk_are_said_plainly(tmp_path, key):
    refused(nano("verify", "baseline", "--runs", 1, "--key", key, "--ledger", "/proc/nano-r1"), "/proc")
    if os.geteuid() == 0:  # a volume with no room
        full = tmp_path / "full"
        full.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", full]).returncode == 0:
            try:
                refused(
                    nano("verify", "baseline", "--runs", 1, "--key", key, "--ledger", full / "records"), "No space left"
                )
                assert not (full / "records" / "index").exists()
            finally:
                subprocess.run(["umount", full], check=True)
