"""`nano-r1 eval` on a track; on a suite: tests/evaluation."""

from nano import nano, refused


def test_eval_refuses_what_is_not_a_checkpoint(tmp_path):
    refused(nano("eval", "--model", tmp_path), "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    refused(nano("eval", "--model", tmp_path), "model.safetensors")
