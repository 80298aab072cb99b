"""A whole verification on a GPU that is a stand-in, and the audit of what it says."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest
from needs import needs_sandbox
from nvml_machine import H100, Machine, add_nodes, needs_bindings, open_to_all

from harness.audit import claims
from harness.audit.context import RecordContext
from harness.isolation.gpu_meter import Gauge, Reading, bill
from harness.ledger import record
from harness.ledger.check import check
from harness.ledger.errors import CheckResult
from harness.tracks.track import ROOT, load

# The tiny track of tests/tiny.py on a GPU: everything is real but NVML, the device files (plain ones) and, where the
# test says so, the kernel, which then multiplies on the CPU inside the sandbox.
VERIFY = """
import tiny
from harness.isolation import doctor
from harness import submission
from harness.ledger.store import Ledger
from harness.ledger.signature import load_key
from harness.verify.executor import VerifyError
from harness.verify.session import Verifier, verify
place = Path(os.environ["PLACE"])
gpu.DEV, occupancy.RELEASE_SECONDS = place / "dev", 0.5
if sys.argv[1] == "on the CPU":
    doctor.kernel = lambda lease, level: doctor.compute("cpu", len(lease.devices), level, lease.sandbox_devices(level))
tiny.build_place(place, 1.5)
path = place / "harness" / "tracks" / "cpu-logic.toml"
gpus = 'kind = "gpu"\\ngpu = "H100-SXM"\\ngpus = 1\\ngpu_memory_bytes = 80_000_000_000\\n'
gpus += "usd_per_gpu_hour_cents = 300\\n"
path.write_text(path.read_text().replace('kind = "cpu"\\n', gpus))
try:
    verifier = Verifier(
        Ledger(place / "records"), load_key(place / "key"), tiny.state_folder(place), tiny.StepRecorder(place / "told"),
        threading.Event(),
    )
    outcomes = verify(tiny.install_track(place), [submission.load(place / "quick-baseline")], verifier, runs=1)
    say([str(outcomes[0].folder), outcomes[0].reason])
except VerifyError as error:
    say(str(error))
"""


# Read by every Python that starts: a process that loads weights is on GPU 0 from then on until it ends, as one that
# computes with CUDA is.
HOLDS = """
import os, sys
from pathlib import Path

def hold(event, arguments):
    if event == "import" and arguments[0] == "safetensors.torch":
        path = Path(os.environ["NVML_STANDIN"])
        path.write_text(path.read_text().replace("0.living ", f"0.living {os.getpid()} "))

sys.addaudithook(hold)
"""


def verified(machine: Machine, kernel: str) -> Any:
    open_to_all(machine.place)
    add_nodes(machine.place, "nvidiactl", "nvidia-uvm", "nvidia0", "nvidia1")
    if machine.state.exists():
        machine.state.write_text(machine.state.read_text(encoding="utf-8") + "0.living  \n", encoding="utf-8")
    (machine.place / "sitecustomize.py").write_text(HOLDS, encoding="utf-8")
    paths = os.pathsep.join([str(machine.place), str(ROOT), str(ROOT / "tests")])
    return machine.run(VERIFY, kernel, PLACE=str(machine.place), PYTHONPATH=paths, OMP_NUM_THREADS="1")


@pytest.mark.slow
@pytest.mark.all
@needs_bindings
@needs_sandbox
def test_a_verification_on_a_gpu_says_so_in_its_record(machine: Machine) -> None:
    folder, reason = verified(machine, "on the CPU")
    assert reason is None
    predicate = record.load((Path(folder) / "record.json").read_bytes()).predicate
    assert predicate.isolation == "full" and predicate.isolation_checks["gpu_kernel_computes"]
    assert predicate.machine.gpu is not None and len(predicate.machine.gpu.devices) == 1
    nonce = bytes.fromhex(predicate.commitment.nonce_hex)
    uuid = b"GPU-00000000-1111-2222-3333-444444444444"
    assert predicate.machine.gpu.devices[0].uuid_sha256 == hashlib.sha256(nonce + uuid).hexdigest()
    assert predicate.control is not None
    # Both were evaluated by a process that held the GPU, and neither stood in the way of what came after it.
    held = re.search(r"^0.living (.*)$", machine.state.read_text(encoding="utf-8"), re.MULTILINE)
    assert held is not None and len(held[1].split()) == 2
    for run in [*predicate.runs, predicate.control]:
        assert run.gpu is not None and run.gpu.gpu_ms == run.wall_ms and run.gpu.readings >= 7
        assert run.gpu.utilisation_ppm == 500_000 and run.gpu.energy_by == "counter"
    assert [finding for finding in check(Path(folder).parent) if not finding.ok] == []


@pytest.mark.slow
@needs_bindings
@needs_sandbox
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (H100, "the GPUs of this machine cannot be used: inside the sandbox there is no GPU ("),
        (
            H100.replace("H100 80GB HBM3", "H100 PCIe"),
            "cpu-logic@5 cannot be verified here: the track is for 1 x H100-SXM of 80 GB, and here are NVIDIA H100",
        ),
        (
            H100.replace("0.processes ", "0.processes 999999999"),
            "GPU 0 is held by process 999999999: a run needs its GPUs to itself",
        ),
        (None, "cpu-logic@5 cannot be verified here: the NVIDIA driver does not answer: Driver Not Loaded"),
    ],
)
def test_a_machine_that_cannot_is_refused_before_anything_is_announced(
    machine: Machine, state: str | None, message: str
) -> None:
    if state is None:
        machine.state.unlink()
    else:
        machine.state.write_text(state, encoding="utf-8")
    answer = verified(machine, "on the GPU")
    assert answer.startswith(message) and "\n" not in answer
    assert not (machine.place / "records").exists() and not list((machine.place / "state").rglob("session.json"))


def test_the_audit_holds_the_gpus_of_a_record_against_its_tracks() -> None:
    track = load("8xh100-math")
    statement = record.load((ROOT / "records" / "2026-11-21_cpu-logic_baseline_4" / "record.json").read_bytes())
    assert not list(claims.check_hardware(RecordContext("here", statement), load("cpu-logic")))
    device = record.Gpu(
        model="NVIDIA H100 80GB HBM3", uuid_sha256="0" * 64, memory_bytes=85_520_809_984, max_sm_clock_mhz=1980,
        max_memory_clock_mhz=2619, power_limit_milliwatts=700_000, ecc=True, mig=False, persistence=True,
    )  # fmt: skip

    gauge = Gauge()
    gauge.add(Reading(0))
    gauge.add(Reading(1))

    def finding(model: str, count: int, metered: int) -> CheckResult:
        devices = [device.model_copy(update={"model": model})] * count
        gpus = record.Gpus(driver="580.95.05", nvml=None, cuda="13.0", libraries={}, devices=devices)
        used = record.GpuUse(**vars(bill([gauge] * metered, 1_000, 0)))
        made = statement.predicate.model_copy(
            update={
                "machine": statement.predicate.machine.model_copy(update={"gpu": gpus if count else None}),
                "runs": [run.model_copy(update={"gpu": used}) for run in statement.predicate.runs],
                "control": None,
            }
        )
        (result,) = claims.check_hardware(
            RecordContext("here", statement.model_copy(update={"predicate": made})), track
        )
        return result

    assert finding(device.model, 8, 8).ok
    assert not finding(device.model, 8, 7).ok and not finding(device.model, 7, 8).ok
    other = finding("NVIDIA A100-SXM4-80GB", 8, 8)
    assert not other.ok and other.message.endswith("NVIDIA A100-SXM4-80GB; the track is for 8 x H100-SXM")
    assert finding("", 0, 8).message == "no GPU; the track is for 8 x H100-SXM"
