"""Ids that were not handed out yet, are negative, huge, or digits of another script."""

import shutil

from harness.client import EnvironmentRefused, connect

run = connect()
run.prompts(2)
strange = [
    "2",
    "-1",
    "99999999999",
    "9" * 400,
    "٠",
    "１",
    "00",
    "+0",
    " 0",
    "0\n",
    "0.0",
    "1e0",
    "0x0",
    "",
    "None",
    "²",
]
strange += [0, None, True, ["0"], {"0": 0}, 0.0]
for one in strange:
    try:
        run._call(op="score", completions=[[one, [run.end_token_id]]])
        print(f"TRIED id {str(one)[:20]!r}: done")
    except EnvironmentRefused as error:
        known = "score: " in str(error) or "not an integer" in str(error)
        print(f"TRIED id {str(one)[:20]!r}: {'refused' if known else error}")
for rows in [[["0", [run.end_token_id]], ["2", [run.end_token_id]]], [["0", [[1]]]], [["0", "1"]], [["0"]], "0", {}]:
    try:
        run._call(op="score", completions=rows)
        print("TRIED rows: done")
    except EnvironmentRefused as error:
        print("TRIED rows:", "closed" if "lost" in str(error) else "refused")
shutil.copyfile(run.base / "model.safetensors", run.output / "model.safetensors")
