"""The script for a GPU box, on a CPU: our trainer at the tiny shape for real, its arithmetic by hand, its page.

TRL's side runs where scripts/trl.txt is installed; docs/gpu-acceptance.md has what came of it.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict

import gpu_acceptance as script
import pytest
from acceptance import ranks
from acceptance.page import page, summary, throughput_rows
from acceptance.ranks import two_steps, wrong
from acceptance.turn import write_model
from acceptance.work import SHAPES, WORKS, Work, step_flops, work_prompts
from needs import needs_sandbox
from transformers import PreTrainedTokenizerFast

from harness.planning.declared import Shape
from harness.tracks.track import ROOT


@pytest.mark.all
@pytest.mark.slow
@pytest.mark.skipif(script.version("trl") is not None, reason="TRL is installed: it would be compared with")
def test_at_the_tiny_shape_without_gpu_and_trl_and_interrupted_after_a_turn(tmp_path, monkeypatch):
    """One turn of the real trainer is kept; what cannot be done here, and why, is printed and written down."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    no_gpu = script.lease()
    results = tmp_path / "results.json"
    command = [sys.executable, str(ROOT / "scripts" / "gpu_acceptance.py"), "--turns", "9", "--out", str(results)]
    command += [word for part in ("verify", "throughput", "parity") for word in ("--part", part)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    log = ""
    try:
        for line in process.stderr:
            log += line
            if "turn 1 of 9" in line and log.count("turn 1 of 9") == 1:  # interrupted while it prints, it prints again
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the turn that has begun hears it too
        assert process.wait() == 130, log
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert "throughput: nothing will be compared, TRL is not installed: pip install" in log
    assert f"verify: cannot be done here, {no_gpu}" in log and "interrupted: what was found so far is in" in log
    assert "Traceback" not in log

    kept = json.loads(results.read_text(encoding="utf-8"))
    assert kept["verify"]["skipped"] == no_gpu
    found = kept["throughput tiny"]["found"]
    (made,) = found["turns"]["ours"]
    work = Work(**found["work"])
    assert made["mismatch"] < 1e-3
    assert len(made["steps"]) == work.steps and all(step["rollout"] > 0 and step["train"] > 0 for step in made["steps"])
    # An end token is one of 2,048: a few of a step's 32 completions are shorter than the limit.
    assert all(0.8 < step["sampled"] / (work.rows * work.new_tokens) <= 1 for step in made["steps"])
    ours = found["summary"]["ours"]
    assert ours["memory"]["resident"] > 1e8 and 0 < ours["rollout_share"] < 1 and 0 < ours["train_share"] < 1
    assert found["summary"]["ratio"] == {} and "TRL is not installed" in found["alone"]
    text = page(kept)
    assert "Nothing to compare with: TRL is not installed" in text
    assert "Provisional: nothing on this page was measured on a GPU" in text


def test_a_prompt_is_read_as_the_ids_that_it_was_written_from(tmp_path):
    """AutoTokenizer would take Qwen's rules for this folder, and a prompt of 16 tokens would have 57."""
    write_model("tiny", tmp_path)
    work = WORKS["tiny"]
    prompts = work_prompts(SHAPES["tiny"], work)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert tokenizer(text=[" ".join(map(str, ids)) for ids in prompts])["input_ids"] == prompts
    assert {len(ids) for ids in prompts} == {work.prompt_tokens}
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 2047)
    assert not {0, 2047} & {token for ids in prompts for token in ids}


def test_the_shapes_are_those_of_the_published_models():
    parameters = {name: shape.parameters for name, shape in SHAPES.items()}
    assert parameters["0.5b"] == 494_032_768
    assert parameters["1.5b"] == 1_543_714_304
    assert parameters["3b"] == 3_085_938_688


def test_flops_of_a_step_by_hand():
    shape = Shape(
        layers=1, width=4, heads=2, kv_heads=1, head_width=2, intermediate=8, vocabulary=10, tied=True, qkv_bias=False
    )
    work = Work(prompts=1, group=2, prompt_tokens=3, new_tokens=5, micro=1, vllm=None, steps=1)
    # Matrices: q and o 4×4, k and v 4×2, three of 4×8, so 144 weights; the head 40. Attention: 4 times 4 channels.
    assert shape.multiplied == 144 + 40
    decode, train = step_flops(shape, work)
    assert decode == 10 * (2 * 184 + 16 * (3 + 2.5))
    assert train == 3 * (16 * (2 * 144 + 16 * 4) + 10 * 2 * 40)


def made(rollout, train, sampled=100, peak=1e9):
    memory = {"resident": 10**9}
    step = {"rollout": rollout, "train": train, "sampled": sampled}
    return {"steps": [step, step], "peak": peak, "memory": memory}


def found(**changes):
    turns = {"ours": [made(1.0, 1.0), made(1.1, 1.1)], "trl": [made(2.0, 4.0), made(2.2, 4.4)]}
    work = asdict(Work(2, 5, 4, 10, 5, None, 2))
    given = {"shape": SHAPES["tiny"].model_dump(), "work": work, "alone": None, "failed": {}, "turns": turns}
    return given | changes


def test_the_summary_compares_turn_by_turn():
    totals = summary(found())
    assert totals["ours"]["rollout"] == pytest.approx((100 / 1.0 + 100 / 1.1) / 2)
    assert totals["ours"]["train"] == pytest.approx((140 / 1.0 + 140 / 1.1) / 2)  # 10 completions of 4 + 10 tokens
    assert [round(totals["ratio"][phase][1], 6) for phase in ("rollout", "train", "step")] == [2, 4, 3]
    low, ratio, high = totals["ratio"]["step"]
    assert low < ratio < high


def test_a_trainer_that_failed_leaves_the_other_ones_figures():
    given = found(failed={"trl": "OutOfMemoryError: CUDA out of memory"})
    given["turns"]["trl"] = []
    totals = summary(given)
    assert totals["ratio"] == {} and totals["ours"]["turns"] == 2
    rows = throughput_rows(given | {"summary": totals})
    assert any("TRL 1.16.0 failed: OutOfMemoryError" in row for row in rows)
    none = found(turns={"ours": [], "trl": []}, failed={"ours": "RuntimeError: a", "trl": "RuntimeError: b"})
    rows = throughput_rows(none | {"summary": summary(none)})
    assert any("baseline-gpu failed: RuntimeError: a" in row for row in rows)


def test_seconds_to_the_gate_are_read_from_the_curves():
    points = [(0, 1000, 10, 5), (1, 500, 10, 10), (0, 2000, 10, 8), (0, 3000, 10, 9)]
    curves = [
        json.dumps({"run": run, "t_ms": at, "completions": completions, "correct": correct})
        for run, at, completions, correct in points
    ]
    assert [script.first_at_gate(curves, run, 0.85) for run in (0, 1, 2)] == [3.0, 0.5, None]


def fails(show):
    raise script.Failed("it ended with 1: see above")


@pytest.mark.parametrize(
    ("part", "does", "message"),
    [
        ("verification", fails, "failed: verify: it ended with 1: see above"),
        ("verification", lambda show: {"valid": False, "reasons": ["a", "b"]}, "failed: verify: not valid, a; b"),
        ("parity", lambda show: {"agree": False}, "failed: parity: the engines disagree"),
    ],
)
def test_a_part_that_fails_is_named_and_exit_code_1(tmp_path, monkeypatch, capsys, part, does, message):
    """Not like one that cannot be done here, which is no failure of what it would have shown."""
    monkeypatch.setattr(script, part, does)
    monkeypatch.setattr(script, "needs", lambda part, shape: None)
    name = {"verification": "verify"}.get(part, part)
    monkeypatch.setattr(sys, "argv", ["gpu_acceptance.py", "--part", name, "--out", str(tmp_path / "results.json")])
    assert script.main() == 1 and message in capsys.readouterr().err


def test_a_part_that_is_skipped_does_not_wipe_out_what_was_found(tmp_path):
    results = script.Results(tmp_path / "results.json", "scripts/gpu_acceptance.py")
    results.keep("parity", found={"agree": True})
    results.keep("parity", skipped="vLLM is not installed")
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["parity"]["found"] == {"agree": True}


def test_the_page_is_the_one_that_its_results_make():
    assert script.PAGE.read_text(encoding="utf-8") == page(json.loads(script.KEPT.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "huge"], "invalid choice: 'huge'"),
        (["--turns", "0"], "--turns: at least 1"),
        (["--part", "throughput", "--shape", "3b"], "throughput 3b: not done, "),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(sys, "argv", ["gpu_acceptance.py", *arguments, "--out", str(tmp_path / "results.json")])
    try:
        code = script.main()
    except SystemExit as error:  # of argparse
        code = error.code
    assert code == 2 and message in capsys.readouterr().err


@pytest.mark.all
@pytest.mark.slow
@needs_sandbox
def test_two_ranks_make_two_sharded_updates_in_the_sandbox():
    """At the tiny shape over gloo: the program, the baseline's pieces and the sandbox are those of 3B over NCCL."""
    found = two_steps("tiny", None)
    assert (found["ranks"], found["device"], found["backend"], found["isolation"]) == (2, "cpu", "gloo", "full")
    assert found["parameters"] == 205_376 and found["sharded"] == found["tensors"] and found["agree"]
    assert len(found["norms"]) == len(found["seconds"]) == 2
    before, between, after = found["margins"]
    assert before < between < after


def test_steps_that_went_wrong_are_told_by_what_they_found():
    right = {
        "parameters": 10, "sharded": 3, "tensors": 3, "agree": True, "norms": [1.0, 0.5], "margins": [0.0, 0.1, 0.2],
    }  # fmt: skip
    assert wrong(right, 10) is None
    assert wrong(right, 11) == "the model has 10 parameters, and its shape 11"
    for change, words in (
        ({"sharded": 2}, "2 of 3 tensors are sharded"),
        ({"agree": False}, "the ranks do not agree"),
        ({"norms": [1.0, float("nan")]}, "the gradient has the norms"),
        ({"norms": [0.0, 1.0]}, "the gradient has the norms"),
        ({"margins": [0.1, 0.2, 0.1]}, "no likelier beside the others"),
    ):
        assert words in wrong(right | change, 10)


def test_of_the_ranks_log_the_first_error_is_told():
    log = [
        "[rank1]: Traceback (most recent call last):",
        "[rank1]: torch.distributed.DistBackendError: NCCL error: unhandled cuda error",
        "[rank0]: RuntimeError: because of the other",
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:",
    ]
    assert ranks.first_error(log) == "torch.distributed.DistBackendError: NCCL error: unhandled cuda error"
    assert ranks.first_error(["out of space"]) == "out of space"
    assert ranks.first_error([]) == "it printed nothing"


def test_on_an_image_with_a_torch_of_its_own_what_is_missing_is_said_in_one_sentence():
    program = "import sys; sys.modules['pydantic'] = None; import gpu_acceptance"
    paths = os.pathsep.join([str(ROOT / "scripts"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, encoding="utf-8",
        check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("pydantic is not installed: scripts/setup.sh vllm,gpu,tasks, or to keep")
