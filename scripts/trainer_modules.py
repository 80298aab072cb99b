"""A baseline's train.py as a module, for its sampler, log-probs and losses."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

from harness.tracks.track import ROOT


def load(folder: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(folder.replace("-", "_"), ROOT / folder / "train.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look it up there
    spec.loader.exec_module(module)
    return module
