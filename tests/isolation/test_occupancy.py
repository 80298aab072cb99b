"""Who is on a GPU, by its processes' ancestry."""

from __future__ import annotations

import os
import subprocess
import time

from harness.isolation import occupancy


def test_a_process_is_ours_if_it_descends_from_the_verifier() -> None:
    me = os.getpid()
    with subprocess.Popen(["sh", "-c", "sleep 100 & echo $!; wait"], stdout=subprocess.PIPE, encoding="utf-8") as shell:
        assert shell.stdout is not None
        grandchild = int(shell.stdout.readline())
        assert occupancy.may_descend_from(shell.pid, me)
        assert occupancy.may_descend_from(grandchild, me) and occupancy.may_descend_from(grandchild, shell.pid)
        assert not occupancy.may_descend_from(me, shell.pid) and not occupancy.may_descend_from(1, me)
        assert not occupancy.may_descend_from(me, me)  # the verifier's own context is not the submission's
        os.kill(grandchild, 9)
        shell.kill()
    while occupancy.is_alive(grandchild):  # the signal may reach it later than its parent
        time.sleep(0.01)
    assert occupancy.may_descend_from(grandchild, me)  # gone: it may have been
    assert occupancy.may_descend_from(2**30, me)
