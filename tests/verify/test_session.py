"""The journey of a verification, with a real sandbox, socket, evaluation and ledger; only the sizes are small."""

import json
import lzma
import shutil
import threading
import time

import pytest
from board_ledger import BoardLedger, make_record
from sessions import Listener

from harness import submission
from harness.frozen.keys import commitment, control_round, seed_of
from harness.ledger.check import check
from harness.ledger.signature import generate, load_key
from harness.ledger.store import Ledger
from harness.tracks.schema import Baseline
from harness.tracks.track import ROOT, load
from harness.verify.executor import Interrupted, VerifyError
from harness.verify.session import Verifier, verify

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]

# Learns nothing: asks, answers with an empty completion, saves the base model as it is.
QUICK = """
import shutil
from harness.client import connect
run = connect()
prompts = run.prompts(4)
print([s.correct for s in run.score([(p.id, [run.end_token_id]) for p in prompts])])
"""
COPY = 'shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")\n'
# As a trainer does it, which imports torch: seconds a run.
LOAD = """
from safetensors.torch import load_file
weights = load_file(run.base / "model.safetensors")
"""
SAVE = "run.save(weights)\n"


def make(folder, name, source):
    home = folder / name
    home.mkdir(parents=True)
    (home / "train.py").write_text(source, encoding="utf-8")
    (home / "submission.toml").write_text(
        f'name = "{name}"\ntrack = "cpu-logic"\ntitle = "{name}"\nchange = "for a test"\ncontributors = ["tests"]\n'
        'based_on = "trim"\nsource = "arXiv:2402.03300"\ntechniques = ["muon"]\n',
        encoding="utf-8",
    )
    return submission.load(home)


@pytest.fixture
def setting(tmp_path):
    """A track of four questions with a quick baseline, an empty ledger, a key that is not listed."""
    tmp_path.chmod(0o755)
    baseline = make(tmp_path, "quick-baseline", QUICK + COPY)
    track = load("cpu-logic")
    small = [suite.model_copy(update={"questions": 2}) for suite in track.heldout.suites]
    track = track.model_copy(
        update={
            "baseline": Baseline(folder=str(baseline.folder), tree_sha256=baseline.tree_sha256),
            "heldout": track.heldout.model_copy(update={"suites": small}),
            "budget": track.budget.model_copy(update={"seconds": 20}),
        }
    )
    generate(tmp_path / "key", "tester")
    return track, baseline, Ledger(tmp_path / "records"), load_key(tmp_path / "key"), tmp_path


def run(setting, items, runs=1, listener=None, cancel=None, control=True):
    track, _, ledger, key, folder = setting
    verifier = Verifier(ledger, key, folder / "state", listener or Listener(), cancel or threading.Event())
    return verify(track, items, verifier, runs=runs, control=control)


def failures(ledger):
    return [finding for finding in check(ledger.folder) if not finding.ok]


def test_two_submissions_in_turn_with_the_baseline(setting):
    _, _, ledger, _, folder = setting
    listener = Listener()
    outcomes = run(setting, [make(folder, "one", QUICK + COPY), make(folder, "two", QUICK + COPY)], 2, listener)
    assert [outcome.name for outcome in outcomes] == ["one", "two"]
    predicate = ledger.records()[1].record.predicate
    assert (
        predicate.submission.name == "two"
        and predicate.isolation == "full"
        and all(predicate.isolation_checks.values())
    )
    recorded = predicate.submission
    assert (recorded.based_on, recorded.source, recorded.techniques) == ("trim", "arXiv:2402.03300", ["muon"])
    assert len(predicate.runs) == 2 and len(predicate.reference.wall_ms) == 2
    root = bytes.fromhex(predicate.commitment.root_hex)
    assert commitment(root, bytes.fromhex(predicate.commitment.nonce_hex)) == predicate.commitment.commitment_sha256
    assert [r.seed for r in [*predicate.runs, predicate.control]] == [
        seed_of(root, predicate.submission.tree_sha256, i) for i in (0, 1, 2)
    ]
    # Three rounds. The runs are numbered as they come; the control run, number 2, takes the round that the root says.
    submissions = [entry.record.predicate.submission for entry in ledger.records()]
    trees = {submission.name: submission.tree_sha256 for submission in submissions}
    trees["quick-baseline"] = predicate.reference.tree_sha256
    expected = []
    for turns in (["quick-baseline", "one", "two"], ["one", "two", "quick-baseline"], ["two", "quick-baseline", "one"]):
        for name in turns:
            made = [run for other, run in expected if other == name and run < 2]
            if len(made) == control_round(root, trees[name], 3) and (name, 2) not in expected:
                expected.append((name, 2))
            else:
                expected.append((name, len(made)))
    expected.remove(("quick-baseline", 2))  # only the reference, so it rests where its control run would be
    assert listener.trained() == expected
    assert predicate.control.run == 2 and predicate.verdict.control_ppm.keys() == predicate.verdict.gates.keys()
    assert predicate.resumed == 0
    assert (
        predicate.runs[0].reward_queries == 4
        and predicate.runs[0].prompts == 4
        and predicate.runs[0].sampled_tokens == 4
    )
    assert predicate.runs[0].most_queries_per_prompt == 1
    assert predicate.runs[0].weights_sha256 == predicate.runs[1].weights_sha256  # nothing was learnt
    assert not predicate.verdict.valid and not predicate.verdict.record
    lines = lzma.decompress((outcomes[1].folder / "completions.jsonl.xz").read_bytes()).splitlines()
    assert [len(json.loads(line)["completions"]) for line in lines] == [24, 24, 24]  # twelve suites
    assert b"[False, False, False, False]" in lzma.decompress((outcomes[1].folder / "log.txt.xz").read_bytes())
    assert not ledger.open_announcements() and not failures(ledger)


def test_without_a_control_run_there_is_a_record_and_it_is_not_valid(setting):
    _, baseline, ledger, _, _ = setting
    listener = Listener()
    (outcome,) = run(setting, [baseline], 2, listener, control=False)
    assert [run for _, run in listener.trained()] == [0, 1]
    assert "there is no control run" in outcome.verdict.reasons and outcome.verdict.control_ppm is None
    assert ledger.records()[0].record.predicate.control is None and not failures(ledger)


def test_baseline_is_its_own_reference(setting):
    _, baseline, _, _, _ = setting
    listener = Listener()
    (outcome,) = run(setting, [baseline], 1, listener)
    made = [(run, phase) for _, run, phase in listener.phases]
    one, control = [(0, "train"), (0, "evaluate")], [(1, "train"), (1, "evaluate")]
    assert made in (one + control, control + one)
    cost = outcome.verdict.relative_cost_ppm
    assert (cost.low, cost.mean, cost.high) == (1_000_000,) * 3
    assert any("1 run" in reason for reason in outcome.verdict.reasons)


WRONG = {
    "crash": (QUICK + "raise SystemExit(3)\n", "exited with code 3"),
    "overrun": (
        QUICK + "import time\nprint('step 15/40', flush=True)\ntime.sleep(60)\n",
        "over the budget of 6 s in step 16 of 40, on ",
    ),
    "shape": (
        QUICK + LOAD + 'weights["model.norm.weight"] = weights["model.norm.weight"][:-1].clone()\n',
        "model.norm.weight",
    ),
    "nan": (QUICK + LOAD + 'weights["model.norm.weight"][0] = float("nan")\n' + SAVE, "model.norm.weight"),
    "silent": (QUICK, "model.safetensors was not written"),
    "background": (
        QUICK
        + COPY
        + "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])\n",
        "left 1 process",
    ),
}
# A wrong shape that the client would refuse is written by hand.
WRONG["shape"] = (
    WRONG["shape"][0]
    + "from safetensors.torch import save_file\nsave_file(weights, run.output / 'model.safetensors')\n",
    WRONG["shape"][1],
)


@pytest.mark.parametrize("name", WRONG)
def test_a_failed_run_gets_the_right_message_and_no_record(setting, name):
    track, baseline, ledger, key, folder = setting
    source, message = WRONG[name]
    small = track.model_copy(
        update={"budget": track.budget.model_copy(update={"seconds": 6 if name == "overrun" else 20})}
    )
    setting = (small, baseline, ledger, key, folder)
    (outcome,) = run(setting, [make(folder, f"does-{name}", source)])
    assert outcome.folder is None and outcome.verdict is None
    assert message in outcome.reason
    assert ledger.records() == [] and not ledger.open_announcements() and not failures(ledger)
    (abandoned,) = [p for p in (ledger.folder / "log").glob("*.json") if b'"abandonment"' in p.read_bytes()]
    assert message in json.loads(abandoned.read_text(encoding="utf-8"))["reason"]
    assert outcome.log.name == f"failed-does-{name}.log" and outcome.log.stat().st_mode & 0o777 == 0o600


def test_one_submission_failing_leaves_the_other_its_record(setting):
    folder = setting[4]
    bad, good = run(setting, [make(folder, "bad", "raise SystemExit(1)\n"), make(folder, "good", QUICK + LOAD + SAVE)])
    assert bad.folder is None and good.folder is not None
    assert not setting[2].open_announcements() and not failures(setting[2])


@pytest.mark.parametrize("phase", ["train", "evaluate"])
def test_interrupt_closes_the_commitment_and_the_next_verification_works(setting, phase):
    _, baseline, ledger, _, folder = setting
    cancel = threading.Event()
    listener = Listener(lambda started: cancel.set() if started == phase else None)
    start = time.monotonic()
    source = QUICK + "import time\ntime.sleep(15)\n" if phase == "train" else QUICK + COPY
    with pytest.raises(Interrupted):
        run(setting, [make(folder, "slow", source)], listener=listener, cancel=cancel)
    assert time.monotonic() - start < 18
    assert ledger.records() == [] and not ledger.open_announcements() and not failures(ledger)
    assert run(setting, [baseline])[0].folder is not None


def test_nothing_is_announced_while_a_record_of_another_digest_stands(tmp_path):
    board = BoardLedger(tmp_path / "records")
    board.add(make_record())
    ledger, before = Ledger(board.folder), len(Ledger(board.folder).entries())
    generate(tmp_path / "key", "someone")
    verifier = Verifier(ledger, load_key(tmp_path / "key"), tmp_path / "state", Listener(), threading.Event())
    items = [submission.load(ROOT / "baseline")]
    with pytest.raises(VerifyError, match="made under another digest") as refused:
        verify(load("cpu-logic"), items, verifier, runs=1)
    assert "superseded --rule R10" in refused.value.advice and len(ledger.entries()) == before


def test_a_changed_baseline_or_another_track_is_refused_before_anything_is_announced(setting):
    _, baseline, ledger, _, folder = setting
    other = make(folder, "other", QUICK)
    for form, names in (({"track": "no-such"}, "'no-such'"), ({"track": None, "tracks": ["a", "b"]}, "'a', 'b'")):
        wrong = other.model_copy(update={"manifest": other.manifest.model_copy(update=form)})
        with pytest.raises(VerifyError, match=f"for the track {names}, not 'cpu-logic'"):
            run(setting, [wrong])
    (baseline.folder / "train.py").write_text("changed", encoding="utf-8")
    with pytest.raises(VerifyError, match="frozen baseline"):
        run(setting, [other])
    assert not ledger.folder.exists()
