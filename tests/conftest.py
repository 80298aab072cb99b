"""What all tests share: one thread per process, the tiers, who runs where, and sweeps that need not be made again."""

from __future__ import annotations

import gc
import os
from typing import Any

# Before anything imports torch: two workers with two threads each wait for each other, and models of a million weights
# are no faster on two cores. Processes that tests start have it too; a sandbox has its track's cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import validated
from hypothesis import settings

# The quick profile shows that a property is tried and holds; the thorough one searches.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=400)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="every test but those marked `long`, as CI runs them")


def pytest_collection_finish() -> None:
    """What is imported by now stays: collecting garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    everything = config.getoption("--all")
    settings.load_profile("thorough" if everything else "quick")
    if everything and not hasattr(config, "workerinput"):  # in the process that hears of all tests
        config.pluginmanager.register(Recorder(config))


# ---------------------------------------------------------------- tiers


@pytest.hookimpl(tryfirst=True)  # before xdist adds the name of its group to a test's
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is not of the tier; and files with slow tests come first, so that no worker ends on one."""
    digests = {item.nodeid: digest_of(item) for item in items if item.get_closest_marker("sweep")}
    for item in items:
        if item.nodeid in digests:
            item.user_properties.append(("sweep", [item.nodeid, digests[item.nodeid]]))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if any("::" in argument for argument in config.args):
        return  # the command line names the tests
    everything, asks_for_long = config.getoption("--all"), "long" in config.getoption("-m")
    entries = {} if everything else validated.load()
    left_out = []
    for item in items:
        is_validated = item.nodeid in entries and entries[item.nodeid] == digests.get(item.nodeid)
        is_of_all = item.get_closest_marker("all") is not None
        is_long = item.get_closest_marker("long") is not None
        if (is_long and not asks_for_long) or ((is_of_all or is_validated) and not everything):
            left_out.append(item)
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)


# ---------------------------------------------------------------- sweeps


def digest_of(item: pytest.Item) -> str:
    """Of a test marked `sweep`: over the tasks that the mark names, or the one of its parameter `task` or `name`."""
    assert isinstance(item, pytest.Function)
    tasks = item.get_closest_marker("sweep").args
    if not tasks:
        parameters = item.callspec.params
        tasks = [parameters["task"].name if "task" in parameters else parameters["name"]]
    return validated.digest(item.path, tasks)


class Recorder:
    """Notes which sweeps pass and writes tests/validated.toml in the end."""

    def __init__(self, config: pytest.Config) -> None:
        chosen = config.option.keyword or config.option.markexpr or config.option.collectonly
        whole_suite = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen
        self.entries = {} if whole_suite else validated.load()  # a test that is gone leaves no entry

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for test, digest in [value for name, value in report.user_properties if name == "sweep"]:
            if report.failed:
                self.entries.pop(test, None)
            elif report.when == "call" and report.passed:
                self.entries[test] = digest

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if ended and self.entries != validated.load():
            validated.save(self.entries)


# ---------------------------------------------------------------- workers


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadgroup` a file stays in one worker, as its fixtures ask; tests marked `xdist_group` follow it."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Scheduling(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            return nodeid.partition("::")[0] if scope == nodeid else scope

    return Scheduling(config, log)
