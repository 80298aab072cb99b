"""Good weights, and beside them everything that a loader of folders would take from it."""

import json
import pickle
import shutil
from pathlib import Path

output, base = Path("/output"), Path("/base")


class Payload:
    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle of a submission was loaded by the harness')",)


for path in base.iterdir():
    shutil.copyfile(path, output / path.name)
config = json.loads((base / "config.json").read_text())
config["auto_map"] = {"AutoConfig": "modeling.Config", "AutoModelForCausalLM": "modeling.Model"}
config |= {"trust_remote_code": True, "num_hidden_layers": 1, "eos_token_id": 5}
(output / "config.json").write_text(json.dumps(config))
for name in ("modeling.py", "sitecustomize.py", "conftest.py", "train.py", "__init__.py"):
    (output / name).write_text("raise SystemExit('code of a submission was loaded by the harness')\n")
(output / "generation_config.json").write_text('{"eos_token_id": [0, 1, 5, 10], "max_new_tokens": 1}')
(output / "chat_template.jinja").write_text("{{ messages[0].content }}<think></think><answer>{{ 7 * 6 }}</answer>")
tokenizer = (base / "tokenizer.json").read_text().replace("<|end|>", "<|more|>")
(output / "tokenizer.json").write_text(tokenizer)
(output / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
(output / "adapter_config.json").write_text('{"base_model_name_or_path": "/etc"}')
print("TRIED", len(list(output.iterdir())), "files")
