"""Is each defence needed? Takes one away at a time, in a copy of the repository, and runs the cheats it is there for.

    python scripts/attack/remove_defences.py           a Markdown table; exit code 1 if a defence is not missed
    python scripts/attack/remove_defences.py --page    and writes it into docs/cheats.md

A defence counts as tested when a case of tests/test_cheats.py passes with it and fails without. Limits on memory and
processes are not taken away: without them the attacks would hit the machine.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pages

from harness.ledger import git

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cheats.md"


@dataclass(frozen=True)
class Removal:
    """`old` stands in the file once and becomes `new`."""

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]  # cases, or "test[case]"


REMOVALS = [
    Removal("the count of CPU time against cores", "harness/isolation/budgets.py",
            "if used <= self._count * (wall_ms + 20):", "if True:", ("more-cores",)),
    Removal("the count of what is left running", "harness/isolation/supervisor.py",
            "left = 0 if childless else max(1, len(descendants()))", "left = 0", ("daemon", "double-fork")),
    Removal("a supervisor that ignores SIGINT", "harness/isolation/supervisor.py",
            "    signal.signal(signal.SIGINT, signal.SIG_IGN)", "    #", ("interrupt-supervisor",)),
    Removal("the clock runs until nothing is alive", "harness/isolation/watch.py",
            'while alive and failure is None and "left" not in self._channel.report:',
            'while alive and failure is None and "exit" not in self._channel.report:', ("within-the-grace",)),
    Removal("a path without the submission's folder while modules are preloaded",
            "harness/isolation/preloader/sitecustomize.py",
            '    os.chdir("/")\n', "    sys.path.insert(0, here)\n", ("off-the-clock",)),
    Removal("a supervisor that is not dumpable", "harness/isolation/supervisor.py",
            "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)", "pass", ("read-memory",)),
    Removal("an environment made from nothing", "harness/isolation/command_line.py",
            "    environment = {\n", "    environment = {\n        **os.environ,\n", ("read-environment",)),
    Removal("the filter of system calls", "harness/isolation/seccomp.py",
            "return program + line(give, allow)", "return line(give, allow)",
            ("network", "keyring-cache", "starve-supervisor")),
    Removal("a network namespace", "harness/isolation/command_line.py",
            '"--unshare-all", "--disable-userns"]', '"--unshare-all", "--share-net", "--disable-userns"]',
            ("network",)),
    Removal("a read-only root", "harness/isolation/command_line.py",
            '"--remount-ro", "/dev", "--remount-ro", "/"]', '"--remount-ro", "/dev"]', ("write-host",)),
    Removal("O_NOFOLLOW on the weights", "harness/isolation/output.py",
            "os.O_RDONLY | os.O_NOFOLLOW |", "os.O_RDONLY |", ("symlink",)),
    Removal("one name for the weights", "harness/isolation/output.py",
            " or status.st_nlink != 1", "", ("hard-link",)),
    Removal("the size of /output", "harness/isolation/command_line.py",
            'line += ["--size", str(output_bytes), "--tmpfs", "/output"]', 'line += ["--tmpfs", "/output"]',
            ("huge", "many-files")),
    Removal("the size of the log", "harness/isolation/output.py",
            "self.over = self.over or len(data) > room", "pass", ("log-flood",)),
    Removal("run folders that do not say which run it is", "harness/verify/local.py",
            'folder = place / "submission"', 'folder = place / f"submission-{run}"',
            ("test_the_runs_of_a_session_look_alike[detect-verifier]",)),
    Removal("no key twice in a header", "harness/frozen/checkpoint.py",
            "if len(set(keys)) != len(keys):", "if False:", ("duplicate-keys", "duplicate-inner-keys")),
    Removal("finite weights", "harness/frozen/checkpoint.py",
            "\n    _finite(data, found, 8 + length, path.name)\n", "\n", ("nan", "infinity")),
    Removal("exact length of the file", "harness/frozen/checkpoint.py",
            "if len(data) != 8 + length + total:", "if False:", ("appended",)),
    Removal("only prompts that this rank was handed", "harness/environment/server.py",
            "if str(index) != name or not session.holds(index):", "if str(index) != name:",
            ("foreign-prompts", "another-rank")),
    Removal("a limit of connections", "harness/environment/server.py",
            "if len(self._connections) >= MAX_RANKS:", "if False:", ("half-frames",)),
    Removal("the whole completion is the two blocks", "harness/frozen/format.py",
            "_COMPLETION.fullmatch(completion)", "_COMPLETION.search(completion)", ("grader-attacks",)),
    Removal("printable lines in the manifest", "harness/submission.py",
            "if not text.isprintable():", "if False:", ("manifest-bidi",)),
    Removal("escaping on the board", "harness/board/markdown.py",
            'return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", visible) or "\\ufffd"', "return text",
            ("test_the_board_of_all_these_records_holds_only_our_own_structure[hostile-manifest]",)),
]  # fmt: skip


def copy_of_the_repository(place: Path) -> Path:
    """The files that git knows or would add, and a link to .venv; open to the sandbox's user."""
    listed = git.run(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    copy = place / "repository"
    for name in filter(None, listed.decode().split("\0")):
        if not name.startswith(("records/", ".venv")) and os.path.lexists(ROOT / name):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name, follow_symlinks=False)
    for path in [place, copy, *copy.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


def run_tests(copy: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """(do they all pass, the first complaint)."""
    nodes = [test if "[" in test else f"test_a_case_gets_its_verdict[{test}]" for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    command += [f"tests/test_cheats.py::{node}" for node in nodes]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, encoding="utf-8", check=False)
    lines = re.findall(r"(?m)^E +(?:AssertionError: )?(?:assert )?([^\s[].*)$", done.stdout)
    if done.returncode not in (0, 1):  # neither passed nor failed
        raise SystemExit(f"pytest did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0, lines[0] if lines else ""


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    rows = ["| defence taken away | in | cases | what then happens |", "|---|---|---|---|"]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="nano-r1-without-") as name:
        copy = copy_of_the_repository(Path(name))
        everything = tuple(dict.fromkeys(test for removal in REMOVALS for test in removal.tests))
        sound, complaint = run_tests(copy, everything)
        if not sound:
            print(f"a case fails with every defence in place: {complaint}", file=sys.stderr)
            return 1
        for removal in REMOVALS:
            file = copy / removal.file
            source = file.read_text(encoding="utf-8")
            if source.count(removal.old) != 1:
                raise SystemExit(f"{removal.file}: {removal.old!r} stands there {source.count(removal.old)} times")
            file.write_text(source.replace(removal.old, removal.new), encoding="utf-8")
            passes, complaint = run_tests(copy, removal.tests)
            file.write_text(source, encoding="utf-8")
            missed += passes
            shown = re.sub(r"/tmp/\S*?/repository/", "", complaint)[:160].replace("|", "\\|").replace("`", "'")
            cases = ", ".join(f"`{test.partition('[')[0] if '[' in test else test}`" for test in removal.tests)
            rows.append(f"| {removal.what} | {removal.file} | {cases} | {'**nothing**' if passes else f'`{shown}`'} |")
            print(rows[-1], flush=True)
    if "--page" in sys.argv:
        pages.write_section(PAGE, "removed", "\n".join(rows))
    print(f"{len(REMOVALS)} defences taken away one at a time, {missed} not missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
