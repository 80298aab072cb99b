"""What Triton needs of a machine is found before a session is announced: a driver, a compiler, Python's headers."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest
from needs import needs_sandbox
from nvml_machine import Machine, needs_bindings, open_to_all

from harness.isolation import compiler, doctor

OLD = """
from harness.isolation import compiler, doctor
compiler.cuda_major = lambda: 13
state(cuda=int(sys.argv[1]), driver=sys.argv[2])
say([compiler.old_driver(), doctor.kernel(gpu.lease("any", 1, 1), "none") if int(sys.argv[1]) < 13000 else None])
"""


@needs_bindings
def test_a_driver_too_old_for_the_installed_pytorch_is_named_with_the_one_to_install(machine: Machine) -> None:
    sentence = (
        "driver 550.54.15 goes up to CUDA 12.4, and the installed PyTorch is built for CUDA 13: "
        "install driver 580 or newer"
    )
    assert machine.run(OLD, "12040", "550.54.15") == [sentence, sentence]
    assert machine.run(OLD, "13000", "580.65.06") == [None, None]
    assert machine.run(OLD, "13010", "590.44.01") == [None, None]


@pytest.mark.parametrize(
    ("line", "major"),
    [("cuda: Optional[str] = '13.0'", 13), ("cuda = '12.8'", 12), ("cuda: Optional[str] = None", None)],
)
def test_the_cuda_of_the_installed_pytorch_is_read_where_pytorch_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, major: int | None
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('it is not imported')", encoding="utf-8")
    (tmp_path / "torch/version.py").write_text(
        f"__version__ = '2.13.0'\ndebug = False\n{line}\nhip = None\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert compiler.cuda_major() == major


def test_what_is_missing_to_compile_is_said_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "has_triton", lambda: False)
    monkeypatch.setattr(compiler.shutil, "which", lambda name, path: None)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert compiler.missing_tools() is None
    monkeypatch.setattr(compiler, "has_triton", lambda: True)
    version = sysconfig.get_python_version()
    assert compiler.missing_tools() == (
        "Triton compiles in the sandbox, and there is no C compiler and no Python.h: "
        f"sudo apt-get install -y gcc libc6-dev python{version}-dev"
    )
    (tmp_path / "Python.h").touch()
    assert str(compiler.missing_tools()).startswith("Triton compiles in the sandbox, and there is no C compiler: sudo")
    monkeypatch.setattr(compiler.shutil, "which", lambda name, path: f"/usr/bin/{name}")
    assert compiler.missing_tools() is None


# A module in C, made as Triton makes its own: gcc, Python.h, a shared library in /tmp.
BUILD = r"""
import importlib.util, shutil, subprocess, sysconfig, tempfile
from pathlib import Path
folder = Path(tempfile.mkdtemp())
(folder / "answer.c").write_text('''#include <Python.h>
static PyObject *value(PyObject *self, PyObject *none) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"value", value, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer", 0, -1, methods};
PyMODINIT_FUNC PyInit_answer(void) { return PyModule_Create(&module); }
''')
compiler = shutil.which("gcc") or shutil.which("clang")
command = [compiler, folder / "answer.c", "-O3", "-shared", "-fPIC", "-o", folder / "answer.so"]
subprocess.run([*command, f"-I{sysconfig.get_path('include')}"], check=True)
spec = importlib.util.spec_from_file_location("answer", folder / "answer.so")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(module.value())
"""


@needs_sandbox
def test_a_module_in_c_is_compiled_and_loaded_in_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "has_triton", lambda: True)
    if (missing := compiler.missing_tools()) is not None:
        pytest.skip(missing)
    open_to_all(tmp_path)
    done = doctor._run(tmp_path / "run", BUILD, doctor.COMPUTE)
    assert (done.failure, done.log) == (None, b"42\n"), done.log
