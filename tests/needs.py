"""What a test needs of this machine."""

from __future__ import annotations

import pytest

from harness.isolation import sandbox

ISOLATION = sandbox.isolation()
needs_sandbox = pytest.mark.skipif(ISOLATION.level != "full", reason="; ".join(ISOLATION.reasons))
