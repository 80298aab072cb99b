"""json.py, conftest.py and sitecustomize.py lie beside train.py, where its own Python looks first."""

import shutil

import json  # isort: skip
from harness.client import connect

run = connect()
print("TRIED json.py in the folder:", json.__file__, json.loads("this is not JSON") is None)
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
