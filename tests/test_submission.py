"""Submission folders: what is read, what is refused, and a digest that sees every byte and nothing else."""

import hashlib
import os
import subprocess

import pytest

from harness import submission
from harness.submission import MAX_FILES, SubmissionError
from harness.tracks.track import ROOT, load, names

SEVERAL = 'tracks = ["cpu-logic", "gpu-logic"]\n'
GOOD = 'name = "mine"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["ada"]\n'


@pytest.fixture
def mine(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)\n", encoding="utf-8")
    (folder / "submission.toml").write_text(GOOD, encoding="utf-8")
    return folder


def test_a_good_folder(mine):
    manifest = submission.load(mine).manifest
    assert manifest.name == "mine" and manifest.contributors == ["ada"]


@pytest.mark.parametrize("based_on", ["trim", "baseline-deduction", "2026-11-21_cpu-logic_trim_3"])
@pytest.mark.parametrize("source", ["arXiv:2402.03300v2", "https://github.com/a/b/blob/main/x.py#L10-L20"])
def test_where_a_recipe_comes_from(mine, based_on, source):
    assert submission.load(mine).manifest.origins == ""
    text = GOOD + f'based_on = "{based_on}"\nsource = "{source}"\ntechniques = ["no-kl", "muon"]\n'
    (mine / "submission.toml").write_text(text, encoding="utf-8")
    manifest = submission.load(mine).manifest
    assert (manifest.based_on, manifest.source, manifest.techniques) == (based_on, source, ["no-kl", "muon"])
    assert manifest.origins == f"based on {based_on}; source {source}; techniques no-kl, muon"


def test_one_track_or_several(mine):
    assert submission.load(mine).manifest.every_track == ["cpu-logic"]
    (mine / "submission.toml").write_text(GOOD.replace('track = "cpu-logic"\n', SEVERAL), encoding="utf-8")
    assert submission.load(mine).manifest.every_track == ["cpu-logic", "gpu-logic"]


def test_the_track_is_the_one_that_all_folders_name(mine, tmp_path):
    both = tmp_path / "both"
    both.mkdir()
    (both / "train.py").touch()
    (both / "submission.toml").write_text(
        GOOD.replace("mine", "both").replace('track = "cpu-logic"\n', SEVERAL), encoding="utf-8"
    )
    one, several = submission.load(mine), submission.load(both)
    assert submission.track_of([one]) == submission.track_of([several, one]) == "cpu-logic"
    with pytest.raises(SubmissionError, match=r"both: for several tracks.*--track: cpu-logic, gpu-logic$"):
        submission.track_of([several])
    (mine / "submission.toml").write_text(GOOD.replace("cpu-logic", "1xh100-smol"), encoding="utf-8")
    with pytest.raises(SubmissionError, match=r"mine.*both.*verify them separately"):
        submission.track_of([submission.load(mine), several])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml [", "not TOML"),
        (GOOD.replace('track = "cpu-logic"\n', ""), r"tracks: .*one track.*or several"),
        (GOOD + SEVERAL, r"tracks: .*not both"),
        (GOOD.replace('track = "cpu-logic"', "tracks = []"), "tracks: .*at least 1"),
        (GOOD.replace('track = "cpu-logic"', 'tracks = "cpu-logic"'), "tracks: .*list"),
        (GOOD.replace('track = "cpu-logic"', 'tracks = ["a", "a"]'), "tracks: .*twice"),
        (GOOD.replace('track = "cpu-logic"', 'tracks = ["A b"]'), r"tracks\.0"),
        (GOOD.replace('track = "cpu-logic"', f"tracks = {[f't{i}' for i in range(33)]}"), "tracks: .*at most 32"),
        (GOOD.replace('"cpu-logic"', "7"), "track: "),
        (GOOD.replace('title = "t"\n', ""), "title"),
        (GOOD + "extra = 1\n", "extra"),
        (GOOD.replace('"mine"', '"other"'), "make them equal"),
        (GOOD.replace('"mine"', '"Mine!"'), "name"),
        (GOOD.replace('["ada"]', "[]"), "at least one"),
        (GOOD.replace('"t"', '"two\\nlines"'), "title"),
        (GOOD.replace('"t"', '"' + "x" * 301 + '"'), "title"),
        (GOOD.replace('"t"', "7"), "title"),
        (GOOD.replace('"t"', '"\\u009b31m"'), r"title.*U\+009B"),  # what terminals take for escape [
        (GOOD.replace('"c"', '"lean\\u202e x"'), r"change.*U\+202E"),
        (GOOD.replace('"ada"', '"a\\u200bda"'), r"contributors.*U\+200B"),
        (GOOD + 'techniques = ["no-kll"]\n', r"techniques: there is no technique 'no-kll'; did you mean no-kl\?"),
        (GOOD + 'techniques = ["GSPO"]\n', r"no technique 'GSPO'; did you mean sequence-ratio\?"),
        (GOOD + 'techniques = ["magic"]\n', r"no technique 'magic'; harness/ledger/techniques.py lists them"),
        (GOOD + 'techniques = ["muon", "muon"]\n', "techniques: a technique is named twice"),
        (GOOD + "techniques = []\n", "techniques: .*at least 1"),
        (GOOD + 'based_on = "../trim"\n', r"based_on: write a record's folder \(.*\(trim\)$"),
        (GOOD + 'source = "2402.03300"\n', r'source: write a paper as "arXiv:2402.03300"'),
        (GOOD + 'source = "http://x.example"\n', "source: write a paper"),
        (GOOD + 'source = "https://x.example/a b"\n', "source: write a paper"),
        ("\xff", "submission.toml"),
        ("a = " + "[" * 100_000, "not TOML"),
        ("a = " + "9" * 5_000, "not TOML"),
    ],
)
def test_a_broken_manifest_says_what_is_wrong(mine, text, message):
    (mine / "submission.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(SubmissionError, match=message):
        submission.load(mine)


@pytest.mark.parametrize("field", ["name", "title", "change", "contributors"])
def test_a_field_that_is_missing_is_to_be_added_not_mended(mine, field):
    text = "".join(line + "\n" for line in GOOD.splitlines() if not line.startswith(field))
    (mine / "submission.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SubmissionError, match=rf"{field} is missing: add a line `{field} = ") as caught:
        submission.load(mine)
    assert "required" not in str(caught.value)


def test_missing_parts(mine, tmp_path):
    (mine / "train.py").unlink()
    with pytest.raises(SubmissionError, match=r"no train\.py"):
        submission.load(mine)
    with pytest.raises(SubmissionError, match="not a folder"):
        submission.load(tmp_path / "nothing")


def test_the_digest_sees_every_byte_and_name_and_ignores_caches(mine):
    before = submission.tree_digest(mine)
    (mine / "__pycache__").mkdir()
    (mine / "__pycache__" / "train.pyc").write_bytes(b"x")
    assert submission.tree_digest(mine) == before
    (mine / "train.py").chmod(0o755)
    assert submission.tree_digest(mine) == before
    (mine / "train.py").write_text("print(2)\n", encoding="utf-8")
    changed = submission.tree_digest(mine)
    (mine / "notes.md").write_text("", encoding="utf-8")
    assert len({before, changed, submission.tree_digest(mine)}) == 3


def test_the_digest_is_what_a_shell_computes(mine):
    """Anyone can check it without our code."""
    (mine / "sub").mkdir()
    (mine / "sub" / "a.txt").write_text("a", encoding="utf-8")
    command = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"
    shell = subprocess.run(
        command, shell=True, cwd=mine, capture_output=True, encoding="utf-8", check=True
    ).stdout.split()[0]
    assert submission.tree_digest(mine) == shell


@pytest.mark.parametrize("kind", ["symlink", "fifo"])
def test_links_and_devices_are_refused(mine, kind):
    if kind == "symlink":
        (mine / "link").symlink_to("/etc/passwd")
    else:
        os.mkfifo(mine / "pipe")
    with pytest.raises(SubmissionError, match="plain files only"):
        submission.load(mine)


def test_a_name_that_reads_as_two_lines_of_the_digest_is_refused(mine):
    """Else a tree of one file could have the digest of a tree of two."""
    (mine / "a").write_text("one", encoding="utf-8")
    (mine / "b").write_text("two", encoding="utf-8")
    before = submission.tree_digest(mine)
    (mine / "a").unlink()
    (mine / "b").unlink()
    forged = f"a\n{hashlib.sha256(b'two').hexdigest()}  b"
    (mine / forged).write_text("one", encoding="utf-8")
    with pytest.raises(SubmissionError, match="rename it"):
        submission.tree_digest(mine)
    lines = [f"{hashlib.sha256(b'one').hexdigest()}  {forged}\n"]
    lines += [f"{hashlib.sha256((mine / n).read_bytes()).hexdigest()}  {n}\n" for n in ("submission.toml", "train.py")]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == before  # what it would have been


@pytest.mark.parametrize("name", [b"\xff.md", b"\x1b[31m.md", "\u202e.md".encode()])
def test_a_name_that_cannot_be_printed_is_refused(mine, name):
    (mine / os.fsdecode(name)).touch()
    with pytest.raises(SubmissionError, match="rename it") as caught:
        submission.load(mine)
    assert str(caught.value).isprintable()


def test_a_flood_is_refused(mine):
    (mine / "big").write_bytes(bytes(1_000_001))
    with pytest.raises(
        SubmissionError, match=r"bytes \(big alone 1,000,001\), and at most 1,000,000 .*keep it to its source"
    ):
        submission.load(mine)
    (mine / "big").unlink()
    (mine / "cache").mkdir()
    for i in range(MAX_FILES):
        (mine / "cache" / f"f{i}").touch()
    with pytest.raises(
        SubmissionError, match=r"holds 52 files \(50 in cache/\), and at most 50 .*keep it to its source"
    ):
        submission.load(mine)


def test_a_snapshot_is_a_faithful_public_copy(mine, tmp_path):
    (mine / "train.py").chmod(0o600)
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    original = submission.load(mine)
    submission.snapshot(original.folder, original.tree_sha256, copy)
    assert submission.tree_digest(copy) == original.tree_sha256
    assert (copy / "train.py").stat().st_mode & 0o777 == 0o644 and copy.stat().st_mode & 0o777 == 0o755
    (mine / "train.py").write_text("print(3)\n", encoding="utf-8")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(SubmissionError, match="changed while"):
        submission.snapshot(original.folder, original.tree_sha256, other)


def test_every_submission_here_is_good():
    for folder in (ROOT / "submissions").iterdir():
        if folder.is_dir():
            assert set(submission.load(folder).manifest.every_track) <= set(names())


@pytest.mark.parametrize("name", names())
def test_the_baseline_of_a_track_is_for_it_and_is_the_frozen_one(name):
    track = load(name)
    baseline = submission.load(ROOT / track.baseline.folder)
    assert baseline.tree_sha256 == track.baseline.tree_sha256
    assert name in baseline.manifest.every_track
    assert track.baseline.folder.startswith("baseline-gpu") == (track.hardware.kind == "gpu")
    assert bool(track.warmup) == (track.baseline.folder in ("baseline-deduction", "baseline-gpu-warmup"))
