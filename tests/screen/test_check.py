"""The static screen of a folder in its repository, and the command `nano-r1 check`."""

import json
import shutil
import sys

import pytest
from markdown_it import MarkdownIt
from nano import nano, refused
from screen_samples import MANIFEST, REFERENCE, code, codes, folder_of, look

from harness.screen.check import check
from harness.screen.findings import ROWS, RULES, SHOWN, finding, markdown
from harness.submission import MAX_BYTES, PLACEHOLDER_CHANGE, tree_digest
from harness.tracks.track import ROOT, load
from harness.verify.new_submission import copy_baseline


def test_the_manifest_is_checked_with_its_line(tmp_path):
    for number, (text, line, words) in enumerate(
        [
            (MANIFEST.replace('"mine"', '"other"'), 1, "make them equal"),
            (MANIFEST.replace('"cpu-logic"', '"gpu"'), 2, "no track 'gpu'"),
            (MANIFEST.replace('track = "cpu-logic"', 'tracks = ["cpu-logic", "gpu"]'), 2, "no track 'gpu'"),
            (MANIFEST + 'tracks = ["cpu-logic"]\n', 6, "not both"),
            (MANIFEST.replace('["ada"]', "[]"), 5, "at least one"),
            (MANIFEST.replace('title = "t"', 'title = "\\u0007"'), 3, "title"),
            (MANIFEST + "extra = 1\n", 6, "extra"),
            (MANIFEST + 'techniques = ["no-kll"]\n', 6, "did you mean no-kl?"),
            (MANIFEST + "extra\n", 6, "not TOML"),
            (MANIFEST.replace('title = "t"\n', ""), None, "title"),
            ("a = " + "[" * 100_000, None, "not TOML"),
            ("a = " + "9" * 5_000, None, "not TOML"),
        ]
    ):
        findings = check(folder_of(tmp_path / str(number), **{"submission.toml": text}))
        (entry,) = [entry for entry in findings if entry.code == "manifest"]
        assert (entry.file, entry.line) == ("submission.toml", line) and words in entry.message
        assert str(tmp_path) not in entry.message
    folder = folder_of(tmp_path / "none")
    (folder / "train.py").unlink()
    (entry,) = check(folder)
    assert entry.code == "manifest" and entry.file == "." and "no train.py" in entry.message
    assert "manifest" not in codes(check(folder_of(tmp_path / "good")))


def test_what_a_recipe_is_based_on_is_here(tmp_path):
    for number, name in enumerate(["trim", "baseline", "2026-11-21_cpu-logic_trim_3"]):
        folder = folder_of(tmp_path / str(number), **{"submission.toml": MANIFEST + f'based_on = "{name}"\n'})
        assert "based-on" not in codes(check(folder))
    for name, words in (("mine", "is this folder"), ("trimm", "did you mean trim?"), ("2020-01-01_a_b", "there is no")):
        folder = folder_of(tmp_path / f"bad-{name}", **{"submission.toml": MANIFEST + f'based_on = "{name}"\n'})
        (entry,) = [entry for entry in check(folder) if entry.code == "based-on"]
        assert (entry.line, entry.severity) == (6, "warning") and words in entry.message


def test_a_folder_for_several_tracks_may_import_what_any_of_them_has(tmp_path):
    several = MANIFEST.replace('track = "cpu-logic"', 'tracks = ["cpu-logic", "1xh100-smol"]')
    single, both = (
        check(folder_of(tmp_path / name, "from vllm import LLM\n", **{"submission.toml": manifest}))
        for name, manifest in (("one", MANIFEST), ("both", several))
    )
    assert "foreign-import" in codes(single) and "foreign-import" not in codes(both)


def test_links_floods_and_names_that_cannot_be_printed(tmp_path):
    link = folder_of(tmp_path / "link")
    (link / "data.md").symlink_to("/etc/passwd")
    big = folder_of(tmp_path / "big", **{"big.md": b"a" * MAX_BYTES})
    newline = folder_of(tmp_path / "newline", **{"a\nb.md": ""})
    for folder in (link, big, newline):
        (entry,) = check(folder)
        assert entry.code == "files" and entry.severity == "error" and "\n" not in entry.message
    assert "files" not in codes(check(folder_of(tmp_path / "good", **{"big.md": b"a " * 400_000})))


def test_a_copy_is_an_error_and_an_unchanged_baseline_a_warning(tmp_path):
    lean = (ROOT / "submissions" / "lean" / "train.py").read_text(encoding="utf-8")
    disguised = '"""Mine."""\n' + lean.partition('"""\n')[2].replace("\n\n", "\n# new\n\n")
    for place, source in (("a", lean), ("b", disguised)):
        (entry,) = [entry for entry in check(folder_of(tmp_path / place, source)) if entry.code == "copied"]
        assert "submissions/lean" in entry.message and entry.severity == "error"
    assert "copied" not in codes(check(folder_of(tmp_path / "c", lean.replace("STEPS = 64", "STEPS = 63"))))
    assert "unchanged" in codes(check(folder_of(tmp_path / "d", REFERENCE)))
    assert "unchanged" not in codes(check(folder_of(tmp_path / "e", REFERENCE.replace("4e-4", "5e-4"))))


def test_an_untouched_template_is_an_error(tmp_path):
    made = copy_baseline(load("cpu-logic"), "my-idea", tmp_path)
    found = {(entry.file, entry.line, entry.severity) for entry in check(made) if entry.code == "template"}
    assert found == {("submission.toml", 4, "error"), ("submission.toml", 5, "error"), ("README.md", 3, "error")}
    manifest = made / "submission.toml"
    manifest.write_text(
        manifest.read_text(encoding="utf-8").replace(PLACEHOLDER_CHANGE, "no KL").replace("your name", "ada"),
        encoding="utf-8",
    )
    (made / "README.md").write_text("# my-idea\n\nNo KL term, for it costs a forward pass a step.\n", encoding="utf-8")
    assert "template" not in codes(check(made))


def test_a_folder_that_the_ledger_knows_is_named(tmp_path):
    folder = tmp_path / "lean"
    shutil.copytree(ROOT / "submissions" / "lean", folder)
    (entry,) = check(folder)
    assert entry.code == "digest-known" and "recorded in records/2026-11-20_cpu-logic_lean/record.json" in entry.message
    (folder / "README.md").write_text("changed", encoding="utf-8")
    assert check(folder) == []

    # Announced, as the reference of another's record, and beside an entry that is no JSON.
    digest = tree_digest(folder)
    log = tmp_path / "project" / "records" / "log"
    log.mkdir(parents=True)
    (log / "a.json").write_text(f"{digest} [[[", encoding="utf-8")
    (log / "b.json").write_text(
        json.dumps({"predicate": {"reference": {"tree_sha256": digest}, "submission": {}}}), encoding="utf-8"
    )
    assert check(folder, tmp_path / "project") == []
    (log / "c.json").write_text(
        json.dumps({"submissions": [{"name": "lean", "tree_sha256": digest}]}), encoding="utf-8"
    )
    (entry,) = check(folder, tmp_path / "project")
    assert entry.code == "digest-known" and "announced in records/log/c.json" in entry.message


def test_every_submission_here_has_no_error_and_no_warning_but_its_record():
    """Also: what a submission is timed against is not taken for the submission."""
    recorded = [ROOT / "baseline", ROOT / "baseline-deduction"]
    folders = [*recorded, *(path for path in (ROOT / "submissions").iterdir() if path.is_dir())]
    assert len(folders) >= 6
    for folder in folders:
        findings = check(folder)
        assert codes(findings) <= {"digest-known"}, findings
        if findings:
            assert folder.name in findings[0].message or "announced" in findings[0].message


@pytest.mark.parametrize("name", ["baseline-gpu", "baseline-gpu-warmup"])
def test_the_baselines_for_gpus_have_no_error_and_what_they_are_warned_of_is_what_they_do(name):
    assert codes(check(ROOT / name)) <= {"decodes-tokens", "patching", "review-call"}


def test_a_flood_of_findings_is_cut_and_counted():
    findings = look(code("import vllm\n" * 500))
    mine = [entry for entry in findings if entry.code == "foreign-import"]
    assert len(mine) == SHOWN and mine[-1].message.endswith("and 490 more of this kind")
    exact = look(code("import vllm\n" * SHOWN))
    assert [entry.message for entry in exact if entry.code == "foreign-import"] == ["vllm"] * SHOWN


def test_a_table_is_cut_and_counted():
    many = [finding("layout", "train.py", number, "x") for number in range(1, ROWS + 8)]
    table = markdown({"mine": [finding("syntax", "train.py", 1, "x"), *many]})
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + ROWS and "syntax" in rows[2] and "8 more are not shown." in table


def test_it_imports_and_executes_nothing(tmp_path):
    mark = tmp_path / "executed"
    source = f"open({str(mark)!r}, 'w')\nimport helper_of_mine\n"
    folder = folder_of(tmp_path, source, **{"helper_of_mine.py": source, "__init__.py": source, "conftest.py": source})
    check(folder)
    assert not mark.exists() and "helper_of_mine" not in sys.modules


# ---------------------------------------------------------------- the command


def test_the_command_exits_with_0_1_or_2(tmp_path):
    done = nano("check", "baseline", "submissions/lean")
    assert done.returncode == 0 and "0 errors, 1 warning" in done.stdout
    origins = 'based_on = "trim"\ntechniques = ["no-kl"]\n'
    bad = folder_of(tmp_path, "x = 1\nexec('1')\n", **{"submission.toml": MANIFEST + origins})
    done = nano("check", bad, "baseline")
    assert "mine: based on trim; techniques no-kl\n" in done.stdout
    assert done.returncode == 1 and "train.py:2: hidden-code" in done.stdout and "1 error" in done.stdout
    refused(nano("check", tmp_path / "none"), "not a folder")
    refused(nano("check"), "--against")
    refused(nano("check", "baseline", "--against", "HEAD"), "--against")
    refused(nano("check", "baseline", "--json", "--markdown"), "one of")


def test_json_has_every_field(tmp_path):
    bad = folder_of(tmp_path, "exec('1')\n")
    done = nano("check", bad, "--json")
    assert done.returncode == 1
    (findings,) = json.loads(done.stdout).values()
    assert {key: findings[0][key] for key in ("code", "severity", "file", "line")} == {
        "code": "hidden-code",
        "severity": "error",
        "file": "train.py",
        "line": 1,
    }
    assert findings[0]["message"] and findings[0]["advice"]


HOSTILE = (
    "</td><script>alert(1)</script>[x](https://evil.example)@admin #1 | **b** `c` <!-- \u202e $x$ https://evil.example"
)


def test_hostile_names_and_text_cannot_become_markup(tmp_path):
    name = "<img src=x onerror=alert(1)> [a](b.example) @admin `x`|.py"
    manifest = MANIFEST + f"{json.dumps(HOSTILE)} = 1\n"
    files = {name: "", "submission.toml": manifest, "a.exe|<b>": ""}
    folder = folder_of(tmp_path, f"import vllm\nopen({'/proc/' + HOSTILE!r})\n", **files)
    done = nano("check", folder, "--markdown")
    assert done.returncode == 1
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(done.stdout)
    assert "<table>" in html and html.count("<h3>") == 1
    for word in ("<script", "<img", "<a ", "@admin", "#1", "<code", "<b>", "<!--", "\u202e"):
        assert word not in html, word
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) > 4 and {line.count("|") for line in rows} == {6}
    plain = nano("check", folder)
    assert "\u202e" not in plain.stdout and "\x1b" not in plain.stdout


def test_escape_sequences_do_not_reach_the_terminal(tmp_path):
    manifest = MANIFEST + '"\\u001b[31m\\u0007" = 1\n'
    folder = folder_of(tmp_path, **{"submission.toml": manifest})
    for done in (nano("check", folder), nano("verify", folder, "--key", tmp_path / "none"), nano("train", folder)):
        assert done.returncode in (1, 2) and "\x1b" not in done.stdout + done.stderr
        assert "\x07" not in done.stdout + done.stderr


def test_the_document_lists_every_rule_as_the_code_has_it():
    rows = [f"| `{name}` | {rule.severity} | {rule.meaning} | {rule.advice} |" for name, rule in RULES.items()]
    text = (ROOT / "docs" / "check.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows
