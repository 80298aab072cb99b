"""What a submission's code may name: packages, modules, dotted names and attributes, and what each is reported as."""

from __future__ import annotations

import re

# What comes with a package that a track pins, and is as much the track's.
BUNDLED = {
    "torch": ("torch",),
    "transformers": ("transformers", "tokenizers", "safetensors", "numpy"),
}

CLIENT = {"connect", "Run", "Prompt", "Trace", "Score", "EnvironmentRefused", "SaveError"}

Reported = tuple[str, str]  # a rule's code, and why


def _table(*rows: tuple[str, str, str]) -> dict[str, Reported]:
    """From rows of a code, a reason and names."""
    return {name: (code, why) for code, why, names in rows for name in names.split()}


# Modules of Python's library that hide code.
HIDING = _table(
    ("hidden-code", "imports by name", "importlib imp runpy pkgutil zipimport zipapp builtins"),
    (
        "hidden-code",
        "loads or builds code",
        "pickle _pickle marshal shelve copyreg code codeop py_compile compileall timeit doctest",
    ),
)
# Modules of Python's library that any trainer may use. The rest are for a reviewer.
_ORDINARY = (
    "__future__ abc argparse array bisect cmath collections configparser contextlib contextvars copy csv dataclasses"
    " datetime decimal difflib enum errno fnmatch fractions functools glob graphlib hashlib heapq hmac io itertools"
    " json keyword locale logging math numbers operator os pathlib posixpath pprint queue random re reprlib shutil stat"
    " statistics string struct sys tempfile textwrap time tomllib types typing unicodedata warnings weakref"
)
ORDINARY = frozenset(_ORDINARY.split())

# Dotted names, wherever they are read, called or not. With a star at the end: all that begin so.
CALLS = _table(
    (
        "hidden-code",
        "runs or imports what only exists at run time",
        "exec eval compile __import__ __builtins__ __loader__ __spec__ types.CodeType types.FunctionType"
        " types.LambdaType sys.meta_path sys.path_hooks torch.hub torch.package torch.jit.load torch.ops.load_library"
        " torch.classes.load_library torch.utils.cpp_extension torch.utils.model_zoo torch.serialization"
        " numpy.ctypeslib numpy.f2py transformers.dynamic_module_utils logging.config",
    ),
    (
        "review-call",
        "starts, signals or leaves processes",
        "os.system os.popen os.fork* os.kill* os.abort os._exit os.set* os.posix_spawn* os.exec* os.spawn*"
        " os.pidfd_open os.register_at_fork os.unshare os.nice os.sched_set* os.memfd_create torch.multiprocessing"
        " torch.distributed.run torch.distributed.launch torch.distributed.elastic",
    ),
    ("review-call", "reads or sets the environment", "os.environ* os.getenv* os.putenv os.unsetenv"),
    (
        "review-call",
        "traces, or looks at frames and modules",
        "sys.settrace sys.setprofile sys._getframe sys._current_frames sys.modules sys.path sys.addaudithook"
        " sys.excepthook sys.unraisablehook breakpoint",
    ),
    ("review-call", "reads raw files", "numpy.fromfile numpy.memmap torch.from_file"),
    (
        "dynamic-attribute",
        "gives names as data",
        "globals locals vars operator.attrgetter operator.methodcaller",
    ),
    (
        "unrepeatable",
        "is not fixed by run.seed",
        "time.time* time.localtime time.gmtime time.ctime time.strftime time.clock_gettime* datetime.datetime.now"
        " datetime.datetime.utcnow datetime.datetime.today datetime.date.today os.stat os.path.getmtime"
        " os.path.getctime os.path.getatime os.urandom os.getrandom os.getpid random.SystemRandom",
    ),
    (
        "own-weights",
        "writes without run.save",
        "os.symlink os.link os.mkfifo os.mknod os.truncate os.ftruncate torch.save safetensors.serialize*"
        " safetensors.torch.save* safetensors.numpy.save*",
    ),
)
PREFIXES = [(name[:-1], reported) for name, reported in CALLS.items() if name.endswith("*")]


def reported_name(parts: list[str]) -> tuple[str, Reported] | None:
    """The longest beginning of a dotted name that is in CALLS, and what it is reported as."""
    for size in range(min(len(parts), 4), 0, -1):
        name = ".".join(parts[:size])
        for prefix, reported in [(name, CALLS[name])] if name in CALLS else PREFIXES:
            if name.startswith(prefix) and "." not in name[len(prefix) :]:
                return name, reported
    return None


# Modules that other modules hold, perhaps with an underscore: torch.os.system is os.system.
HELD = {"os", "sys", "builtins", "subprocess", "ctypes", "socket", "importlib", "pickle", "marshal", "gc", "inspect",
        "mmap", "threading", "shutil"}  # fmt: skip

# Attributes, whatever they are of.
ATTRIBUTES = _table(
    (
        "hidden-code",
        "goes around the names in the code",
        "__subclasses__ __globals__ __builtins__ __code__ __closure__ __getattribute__ __reduce__ __reduce_ex__"
        " __import__ __loader__ f_back f_globals f_locals f_builtins tb_frame gi_frame cr_frame ag_frame",
    ),
    ("dynamic-attribute", "gives names as data", "__dict__ __mro__ __bases__ __base__"),
    (
        "unrepeatable",
        "is not fixed by run.seed",
        "st_mtime st_mtime_ns st_ctime st_ctime_ns st_atime st_atime_ns st_ino",
    ),
    ("own-weights", "makes a link or writes a checkpoint", "symlink_to hardlink_to save_pretrained"),
    (
        "decodes-tokens",
        "turns token ids into text",
        "batch_decode convert_ids_to_tokens convert_tokens_to_string id_to_token",
    ),
)

HOST_PATH = re.compile(
    r"(?<![\w.])(?:/(?:proc|sys|dev|etc|home|root|run|var|opt|tmp|mnt|usr|submission|lib|lib64|srv|boot)(?![\w-])"
    r"|\.\./)|NANO_R1_|LD_PRELOAD|LD_LIBRARY_PATH|PYTHON(?:PATH|HOME|STARTUP|HASHSEED)"
)
