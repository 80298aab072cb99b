"""A track's packages are looked for before anything is announced."""

from importlib import metadata

import pytest

from harness.tracks.track import load
from harness.verify.executor import VerifyError
from harness.verify.local import check_packages


def test_a_package_that_a_track_names_and_that_is_not_installed_is_named_with_the_set_up():
    """It was a traceback, after the sandbox and the GPUs had been tried."""
    check_packages(load("cpu-logic"))
    track = load("1xh100-logic")
    track = track.model_copy(update={"packages": track.packages | {"no-such-engine": "1.0"}})
    wanted = "no-such-engine" if any(d.name == "vllm" for d in metadata.distributions()) else "vllm and no-such-engine"
    with pytest.raises(VerifyError) as raised:
        check_packages(track)
    assert raised.value.args[0].startswith(f"1xh100-logic@1 runs with {wanted}, which is not installed")
    assert "scripts/setup.sh vllm,gpu,tasks" in str(raised.value.advice)
