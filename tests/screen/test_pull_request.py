"""The gate of a pull request, on real repositories: what may come together, and that the branch cannot judge itself."""

import json
import shutil

import pytest
from git_repository import git
from markdown_it import MarkdownIt
from nano import nano

from harness.screen.pull_request import PullRequestError, frozen, kind, review
from harness.tracks import digest
from harness.tracks.digest import FROZEN
from harness.tracks.track import ROOT, load

MANIFEST = 'name = "mine"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["ada"]\n'
MINE = {"submissions/mine/train.py": "x = 1\n", "submissions/mine/submission.toml": MANIFEST}


def gate(repository, *arguments):
    return nano("check", *arguments, cwd=repository)


def write(repository, files):
    for name, content in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def commit(repository, files, message="change"):
    write(repository, files)
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", message)


@pytest.fixture
def repository(tmp_path):
    """This project's baseline, submissions and records, on main; a branch `topic` is checked out."""
    folder = tmp_path / "project"
    for name in ("baseline", "submissions", "records"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".lock", "__pycache__"))
    write(
        folder, {"harness/frozen/judge.py": "1", "harness/cli.py": "1", "README.md": "1", "leaderboard/README.md": "1"}
    )
    git(folder, "init", "-q", "-b", "main")
    draft = {
        name.replace("mine", "draft"): text.replace("mine", "draft").replace("x = 1", "x = 2")
        for name, text in MINE.items()
    }
    commit(folder, draft)
    git(folder, "checkout", "-q", "-b", "topic")
    return folder


def test_a_submission_alone_passes(repository):
    commit(repository, MINE)
    result = review(repository, "main")
    assert result.passed and result.refusals == [] and result.notes == []
    assert result.submissions == {"submissions/mine": []}
    assert {(change.status, change.path) for change in result.changes} == {("A", path) for path in MINE}
    done = gate(repository, "--against", "main", "--markdown")
    assert done.returncode == 0 and "passed" in done.stdout and "submissions/mine: 0 errors" in done.stdout


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("harness/frozen/judge.py", "decides its result"),
        ("harness/tasks/nim.py", "decides its result"),
        ("harness/tracks/cpu-logic.toml", "decides its result"),
        ("harness/models/logic-base/config.json", "decides its result"),
        ("baseline/train.py", "decides its result"),
        ("harness/cli.py", "the harness that will judge it"),
        ("harness/new.py", "the harness that will judge it"),
        ("records/index", "the ledger or the board"),
        ("leaderboard/README.md", "the ledger or the board"),
        (".github/workflows/check.yml", "other files"),
        ("scripts/test", "other files"),
        ("submissions/README.md", "other files"),
    ],
)
def test_a_submission_with_anything_else_is_refused(repository, path, word):
    commit(repository, {**MINE, path: "changed\n"})
    result = review(repository, "main")
    (sentence,) = result.refusals
    assert not result.passed and word in sentence and path in sentence and "submissions/mine" in sentence
    done = gate(repository, "--against", "main")
    assert done.returncode == 1 and "refused" in done.stdout and path in done.stdout


def test_the_project_may_change_without_a_submission(repository):
    commit(repository, {"harness/cli.py": "2", "docs/a.md": "2"})
    assert review(repository, "main").passed
    commit(repository, {"harness/frozen/judge.py": "2", "records/index": "2"})
    result = review(repository, "main")
    assert result.passed and "harness/frozen/judge.py decides results" in result.notes[0] and "audit" in result.notes[1]
    commit(repository, {"baseline/train.py": "x = 1\n"})
    assert "baseline/train.py" in review(repository, "main").notes[0]


def test_two_submissions_in_one_branch_are_refused(repository):
    other = {name.replace("mine", "other"): text.replace("mine", "other") for name, text in MINE.items()}
    commit(repository, MINE | {name: text.replace("x = 1", "x = 3") for name, text in other.items()})
    result = review(repository, "main")
    (sentence,) = result.refusals
    assert "2 submissions (submissions/mine, submissions/other)" in sentence and "pull request for each" in sentence
    shutil.rmtree(repository / "submissions" / "other")
    shutil.rmtree(repository / "submissions" / "draft")  # to drop a draft is no second submission
    commit(repository, {})
    assert review(repository, "main").passed


def test_one_changed_file_is_one(repository):
    commit(repository, {"docs/a.md": "2"})
    assert "1 changed file: passed" in gate(repository, "--against", "main").stdout
    assert "1 changed file between" in gate(repository, "--against", "main", "--markdown").stdout


@pytest.mark.parametrize("change", ["edit", "delete", "add", "rename"])
def test_a_recorded_folder_never_changes(repository, change):
    lean = repository / "submissions" / "lean"
    if change == "edit":
        (lean / "README.md").write_text("better words", encoding="utf-8")
    elif change == "delete":
        (lean / "README.md").unlink()
    elif change == "add":
        (lean / "notes.md").write_text("more", encoding="utf-8")
    else:
        lean.rename(repository / "submissions" / "thin")
    commit(repository, {})
    result = review(repository, "main")
    (sentence,) = result.refusals
    assert not result.passed and "never changes again" in sentence and "2026-11-20_cpu-logic_lean" in sentence


def test_a_folder_without_a_record_may_change_or_go(repository):
    commit(repository, {"submissions/draft/README.md": "clearer\n"})
    assert review(repository, "main").passed
    shutil.rmtree(repository / "submissions" / "draft")
    commit(repository, {"harness/cli.py": "2"})
    assert review(repository, "main").passed


def test_a_submission_with_an_error_is_refused_with_its_line(repository):
    commit(repository, {**MINE, "submissions/mine/train.py": "x = 1\nexec('1')\n"})
    result = review(repository, "main")
    assert not result.passed and result.refusals == []
    done = gate(repository, "--against", "main", "--json")
    result = json.loads(done.stdout)
    assert done.returncode == 1 and result["passed"] is False
    (finding,) = result["submissions"]["submissions/mine"]
    assert (finding["code"], finding["line"]) == ("hidden-code", 2)


def test_the_branch_is_read_from_git_and_never_checked_out(repository):
    """So a workflow can run the base's gate: what lies in the working tree makes no difference."""
    commit(repository, {**MINE, "submissions/mine/train.py": "exec('1')\n"})
    git(repository, "checkout", "-q", "main")
    assert not (repository / "submissions" / "mine").exists()
    assert not review(repository, "main", "topic").passed
    assert not (repository / "submissions" / "mine").exists() and git(repository, "status", "--porcelain") == ""
    assert review(repository, "main").changes == []


def test_only_what_the_branch_changed_counts(repository):
    commit(repository, MINE)
    git(repository, "checkout", "-q", "main")
    commit(repository, {"harness/frozen/judge.py": "changed on main meanwhile"})
    result = review(repository, "main", "topic")
    assert result.passed and {change.path for change in result.changes} == set(MINE)


def test_links_modules_and_floods_are_refused(repository):
    (repository / "submissions" / "mine").mkdir()
    (repository / "submissions" / "mine" / "train.py").symlink_to("/etc/passwd")
    commit(repository, {})
    (finding,) = review(repository, "main").submissions["submissions/mine"]
    assert (finding.code, finding.severity, finding.file) == ("files", "error", "train.py")
    (repository / "submissions" / "mine" / "train.py").unlink()
    commit(repository, {**MINE, **{f"submissions/mine/f{i}.md": "" for i in range(60)}})
    (finding,) = review(repository, "main").submissions["submissions/mine"]
    assert finding.code == "files" and "62 files, and at most 50" in finding.message


def test_a_tree_that_climbs_out_of_its_folder_writes_nothing(repository, tmp_path):
    """Such a tree cannot be committed with git, but it can be made and pushed by hand."""
    blob = git(repository, "hash-object", "-w", "--stdin", stdin="x").strip()

    def tree(*rows):
        raw = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(sha) for mode, name, sha in rows)
        (tmp_path / "tree").write_bytes(raw)
        return git(repository, "hash-object", "-w", "-t", "tree", "--literally", tmp_path / "tree").strip()

    file, folder = b"100644", b"40000"
    climbing = tree((folder, b"mine", tree((folder, b"..", tree((folder, b"..", tree((file, b"escaped", blob))))))))
    top = tree((folder, b"submissions", climbing))
    head = git(repository, "commit-tree", top, "-p", "main", "-m", "x").strip()
    (finding,) = [f for findings in review(repository, "main", head).submissions.values() for f in findings]
    assert finding.code == "files" and "leaves the folder" in finding.message
    assert not list(tmp_path.rglob("escaped"))


def test_hostile_paths_cannot_become_markup_or_control_the_terminal(repository):
    name = "submissions/mine/<img src=x> [a](b.example) @admin \x1b[31m`|\n# x.md"
    commit(repository, {**MINE, name: "", "<script>x": ""})
    done = gate(repository, "--against", "main", "--markdown")
    assert done.returncode == 1
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(done.stdout)
    for word in ("<img", "<script", "<a ", "@admin", "<code", "\x1b"):
        assert word not in html, word
    assert html.count("<h1>") == 0 and html.count("<h3>") == 1
    assert "\x1b" not in gate(repository, "--against", "main").stdout


def test_a_wrong_request_is_one_sentence(repository, tmp_path):
    for arguments, word in [
        (["--against", "nothing"], "no commit"),
        (["--against", "--output=/tmp/x"], "no commit"),
        (["--against", "main", "--head", "nothing"], "no commit"),
    ]:
        done = gate(repository, *arguments)
        assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr
    done = gate(tmp_path, "--against", "main")
    assert done.returncode == 2 and "no git repository" in done.stderr
    git(repository, "checkout", "-q", "--orphan", "stranger")
    commit(repository, {"past.txt": "another"})  # made in the same second, an equal commit would be the same one
    with pytest.raises(PullRequestError, match="no common history"):
        review(repository, "main")


def test_frozen_is_what_the_tracks_digest_covers():
    """Every frozen file matters: the digest, the base's hashes or the baseline's would change with it."""
    track = load("cpu-logic")
    files = frozen()
    assert {f"harness/{name}" for name in FROZEN.values()} < files and "harness/tracks/cpu-logic.toml" in files
    assert {f"harness/tasks/{task}.py" for task in track.train.tasks} < files
    assert {f"{track.base.folder}/{name}" for name in track.base.files} < files and "baseline/train.py" in files
    assert "harness/tracks/standing/judge.py.txt" in files
    assert all((ROOT / path).is_file() for path in files)
    assert "harness/verify/session.py" not in files and kind("harness/verify/session.py") == "harness"


def test_the_list_is_computed_and_not_copied(monkeypatch):
    frozen.cache_clear()
    monkeypatch.setattr(digest, "FROZEN", {**FROZEN, "session": "verify/session.py"})
    try:
        assert kind("harness/verify/session.py") == "frozen"
    finally:
        frozen.cache_clear()


WORKFLOW = ROOT / ".github" / "workflows" / "check.yml"


def test_the_workflow_gives_a_pull_request_nothing():
    """Read-only, never with the base's rights, and what judges is the base's code, not the branch's."""
    import yaml

    text = WORKFLOW.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert (
        workflow["permissions"] == {"contents": "read"} and "pull_request_target" not in text and "secrets." not in text
    )
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads `on` as true
    (checkout, *steps) = workflow["jobs"]["pull-request"]["steps"]
    assert checkout["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert checkout["with"]["fetch-depth"] == 0
    runs = "\n".join(step.get("run", "") for step in steps)
    assert "checkout" not in runs and "${{" not in runs  # values come in by environment, never pasted into a script
    assert 'nano-r1 check --against "$BASE" --head "$HEAD" --markdown' in runs
