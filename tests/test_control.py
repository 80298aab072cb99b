"""Two cheats that pass every gate and learn nothing from the reward: only the control run tells them from a recipe."""

import importlib.util
import shutil
import threading

import pytest
import torch
from sessions import Listener
from tiny import make_submission

from harness import submission
from harness.evaluation import judging
from harness.ledger import record
from harness.ledger.check import check
from harness.ledger.signature import generate, load_key
from harness.ledger.store import Ledger
from harness.tracks.schema import Baseline
from harness.tracks.track import ROOT, load
from harness.verify.session import Verifier, verify

CHEATS = ROOT / "tests" / "cheats"
SPEC = importlib.util.spec_from_file_location("make_hidden_weights", CHEATS / "make_hidden_weights.py")
make = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.parametrize("name", ["hidden-weights", "built-in-solver"])
def test_the_control_run_and_nothing_else_refuses(tmp_path, name):
    """The real track, budget and questions; one run instead of eight."""
    tmp_path.chmod(0o755)
    reference = make_submission(tmp_path, "quick", seconds=0)  # only timed, and times say nothing here
    track = load("cpu-logic").model_copy(
        update={"baseline": Baseline(folder=str(reference.folder), tree_sha256=reference.tree_sha256)}
    )
    generate(tmp_path / "key", "tester")
    ledger = Ledger(tmp_path / "records")
    verifier = Verifier(ledger, load_key(tmp_path / "key"), tmp_path / "state", Listener(), threading.Event())
    (outcome,) = verify(track, [submission.load(CHEATS / name)], verifier, runs=1)
    assert outcome.folder is not None, outcome.reason
    predicate = record.load((outcome.folder / "record.json").read_bytes()).predicate
    (run,) = predicate.runs
    assert judging.mean_accuracy(track, run.tasks) * 1_000_000 > track.heldout.mean_gate_ppm
    for suite in track.heldout.suites:
        assert run.tasks[suite.task].correct / suite.questions * 1_000_000 > suite.gate_ppm
    assert not predicate.verdict.valid
    reasons = [reason for reason in predicate.verdict.reasons if not reason.startswith("1 run")]
    assert reasons and all(reason.startswith("control run: ") for reason in reasons)
    assert predicate.verdict.control_ppm["mean"] > track.heldout.mean_gate_ppm  # as good as with true scores
    assert [finding for finding in check(ledger.folder) if not finding.ok] == []


def test_hidden_weights_come_out_as_they_went_in(tmp_path):
    """What the maker packs, the submission's own code unpacks, to within the rounding of signed bytes."""
    from safetensors.torch import load_file, save_file

    base = load_file(load("cpu-logic").base_folder / "model.safetensors")
    torch.manual_seed(0)
    trained = {}
    for name, weight in base.items():
        if weight.ndim == 1:
            change = torch.randn_like(weight)
        else:
            change = torch.randn(weight.shape[0], 3) @ torch.randn(3, weight.shape[1])
        trained[name] = weight + 0.01 * change
    save_file(trained, tmp_path / "trained.safetensors")
    space = {"__name__": "hidden"}
    exec(compile(make.source(tmp_path / "trained.safetensors", rank=4), "train.py", "exec"), space)
    changed = space["unpacked"](base)
    for name, weight in trained.items():
        error = (changed[name] - weight).norm() / (weight - base[name]).norm()
        assert error < 0.02, name


@pytest.mark.parametrize("name", ["hidden-weights", "built-in-solver"])
def test_each_is_a_submission_like_any_other(name):
    assert submission.load(CHEATS / name).manifest.name == name
