"""Too long for the model, and for the frame when it is longer still."""

import shutil

from harness.client import EnvironmentRefused, connect

run = connect()
(prompt,) = run.prompts(1)
for size in (129, 1_000_000, 6_000_000):
    try:
        run.score([(prompt.id, [5] * size)])
        print(f"TRIED {size} tokens: done")
    except EnvironmentRefused as error:
        print(f"TRIED {size} tokens: {error}")
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
