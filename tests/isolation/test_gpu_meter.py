"""What a run takes of its GPUs, and a clock that runs until they are free. Real sandboxes, a stand-in NVML."""

from __future__ import annotations

import itertools
import re
import subprocess
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from needs import needs_sandbox
from nvml_machine import H100, SANDBOX, Machine, needs_bindings, open_to_all

from harness.isolation.gpu_meter import MOST_MILLIWATTS, EnergyCounter, Gauge, Integral, Reading, bill, growth


def series(data: st.DataObject, values: st.SearchStrategy[int]) -> list[tuple[int, int]]:
    """Readings at uneven moments, up to 20 s apart."""
    count = data.draw(st.integers(2, 30))
    gaps = data.draw(st.lists(st.integers(0, 20 * 10**9), min_size=count, max_size=count))
    moments = [sum(gaps[: i + 1]) for i in range(count)]
    return [(at, data.draw(values)) for at in moments]


@given(st.data())
def test_power_is_integrated_as_the_closed_form_has_it(data: st.DataObject) -> None:
    """Between two readings power is a straight line, whose integral is their mean times the time."""
    points = series(data, st.integers(0, 2_000_000))
    integral = Integral()
    exact, area = Fraction(0), 0
    for at, value in points:
        integral.add(at, value)
        if data.draw(st.booleans()):
            integral.add(at, None)  # a reading that was refused changes nothing
    for (then, before), (at, value) in itertools.pairwise(points):
        exact += Fraction(before + value, 2) * Fraction(at - then, 10**9)
        area += at - then
    if area == 0:
        assert integral.value_seconds() is None and integral.mean() is None
        return
    result = integral.value_seconds()
    assert result is not None and 0 <= result == exact.__floor__()
    mean = integral.mean(10_000)
    assert mean is not None and abs(mean - exact * 10**9 / area * 10_000) <= Fraction(1, 2)


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.lists(st.integers(1, 10**9), min_size=1, max_size=20))
def test_a_straight_rise_is_integrated_exactly_wherever_it_is_read(start: int, slope: int, gaps: list[int]) -> None:
    """Of a + b·t over T seconds the integral is a·T + b·T²/2."""
    integral, at = Integral(), 0
    for gap in [0, *gaps]:
        at += gap * 1_000_000  # whole milliseconds, in which the power is a whole number of milliwatts
        integral.add(at, start + slope * (at // 1_000_000))
    length = Fraction(at, 10**9)
    assert integral.value_seconds() == (start * length + slope * 1000 * length**2 / 2).__floor__()


@given(st.data())
def test_a_counter_that_wraps_has_counted_on(data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.integers(1, 60 * 10**9), min_size=1, max_size=30))
    start = data.draw(st.integers(0, 2**32 - 1))
    counter, at, drawn = EnergyCounter(), 0, 0
    counter.add(at, start)
    for gap in gaps:
        at += gap
        drawn += data.draw(st.integers(0, MOST_MILLIWATTS * gap // 10**9))
        counter.add(at, (start + drawn) % 2**32)
    assert counter.total == drawn


@given(st.lists(st.tuples(st.integers(0, 60 * 10**9), st.none() | st.integers(0, 2**64 - 1)), max_size=30))
def test_whatever_a_counter_says_its_growth_is_never_negative_nor_beyond_a_board(
    readings: list[tuple[int, int | None]],
) -> None:
    counter, at = EnergyCounter(), 0
    for gap, value in readings:
        at += gap
        counter.add(at, value)
    supported = sum(value is not None for _, value in readings)
    assert (counter.total is None) == (supported < 2)
    assert counter.total is None or 0 <= counter.total <= MOST_MILLIWATTS * (at // 10**9 + supported + 1)


def test_a_counter_that_was_reset_goes_on_from_there() -> None:
    second = 10**9
    assert growth(1_000, 501_000, second) == 500_000
    assert growth(2**32 - 100, 50, second) == 150  # wrapped at 32 bits
    assert growth(900_000_000, 300_000, second) == 300_000  # began again at zero
    assert growth(10**12, 10**12 - 5, second) == 0  # neither: it is wrong
    assert growth(0, 10**12, second) == 0


def gauge(*readings: Reading) -> Gauge:
    made = Gauge()
    for reading in readings:
        made.add(reading)
    return made


def test_the_bill_of_two_gpus_by_hand() -> None:
    second = 10**9
    first = gauge(
        Reading(0, 100, 0, 100_000, 5_000, 1_000, 2_000),
        Reading(second, 900, 100, 300_000, 205_000, 2_000, 2_000),
        Reading(3 * second, 300, 100, 300_000, 805_000, 2_000, 2_000),
    )
    other = gauge(Reading(0, 50, 20, 100_000, None, 1_000, 2_000), Reading(second, 60, 20, 100_000, None, 1_000, 2_000))
    both = bill([first, other], 3_000, 40)
    assert (both.devices, both.gpu_ms, both.release_ms, both.readings) == (2, 6_000, 40, 2)
    assert both.peak_memory_bytes == 900
    # 0 to 100 in a second, then 100 for two: 250/3 percent; the other 20 percent throughout.
    assert both.utilisation_ppm == 516_667  # (833,333 + 200,000) / 2
    # Only one has a counter, so power it is: 200 W for a second and 300 for two, and 100 for one.
    assert (both.energy_millijoules, both.energy_by) == (200_000 + 600_000 + 100_000, "power")
    assert (both.sm_clock_mhz, both.memory_clock_mhz) == (1417, 2_000)
    single = bill([first], 3_000, 0)
    assert (single.energy_millijoules, single.energy_by) == (800_000, "counter")
    nothing = bill([gauge(Reading(0), Reading(second))], 1_000, 0)
    assert (nothing.energy_millijoules, nothing.energy_by, nothing.peak_memory_bytes) == (None, None, None)


@needs_bindings
def test_a_meter_reads_while_the_gpus_work(machine: Machine) -> None:
    used = machine.run("""
lease = gpu.lease("H100-SXM", 2, 80_000_000_000)
with lease.meter() as meter:
    time.sleep(0.5)
    state(**{"0_memory_used": 40_000_000_000, "0_energy": 1_300_000, "1_energy": 1_100_000})
    time.sleep(0.7)
    state(**{"0_memory_used": 10_000_000})
    freed = meter.wait_until_free()
    state(**{"1_energy": 1_150_000})
assert freed is None
say(meter.bill(1_200))
""")
    assert used["gpu_ms"] == 2_400 and 5 <= used["readings"] <= 9
    assert used["peak_memory_bytes"] == 40_000_000_000
    assert (used["energy_millijoules"], used["energy_by"]) == (300_000 + 150_000, "counter")
    assert used["utilisation_ppm"] == 500_000
    assert (used["sm_clock_mhz"], used["memory_clock_mhz"]) == (1755, 2619)


@needs_bindings
def test_without_a_counter_energy_is_the_integral_of_power(machine: Machine) -> None:
    machine.state.write_text(
        H100.replace("0.energy 1000000\n", "").replace("0.power 400000", "0.power 100000"), encoding="utf-8"
    )
    seconds, used = machine.run("""
lease = gpu.lease("H100-SXM", 1, 80_000_000_000)
began = time.monotonic()
with lease.meter() as meter:
    time.sleep(1)
say([time.monotonic() - began, meter.bill(1_000)])
""")
    assert used["energy_by"] == "power"
    assert 100_000 <= used["energy_millijoules"] <= 100_000 * seconds


@needs_bindings
@needs_sandbox
def test_the_clock_runs_until_the_gpu_is_free(machine: Machine) -> None:
    open_to_all(machine.place)
    usage, bill, count = machine.run(
        SANDBOX
        + """
def leave():
    while any(os.path.exists(f"/proc/{pid}") for pid in held) or not held:
        time.sleep(0.01)
    time.sleep(1)  # the driver takes its time to clean up
    state(**{"0_processes": "", "0_memory_used": 5 << 20})
threading.Thread(target=leave, daemon=True).start()
usage, bill = run(hold)
say([dataclasses.replace(usage, log=""), bill, len(held)])
""",
        PLACE=str(machine.place),
    )
    assert usage["failure"] is None and count >= 2
    assert 800 <= bill["release_ms"] <= 5_000
    assert usage["wall_ms"] >= 1_000 + bill["release_ms"]
    assert bill["gpu_ms"] == usage["wall_ms"] and bill["peak_memory_bytes"] == 9 << 30


@needs_bindings
@needs_sandbox
def test_a_gpu_that_never_comes_free_fails_the_run(machine: Machine) -> None:
    open_to_all(machine.place)
    usage, held = machine.run(
        SANDBOX
        + """
occupancy.RELEASE_SECONDS = 1
usage, bill = run(hold)
say([dataclasses.replace(usage, log=""), held])
""",
        PLACE=str(machine.place),
    )
    names = ", ".join(f"process {pid}" for pid in sorted(held))
    assert re.sub(r" \(\w+\)", "", usage["failure"]) == f"GPU 0 is held by {names}, 1 s after its last process was gone"
    assert usage["wall_ms"] >= 2_000


@needs_bindings
@needs_sandbox
def test_somebody_else_on_the_gpu_ends_the_run_and_is_not_the_submissions_fault(machine: Machine) -> None:
    open_to_all(machine.place)
    program = (
        SANDBOX
        + """
def intrude(elapsed_ms):
    if elapsed_ms > 300:
        state(**{"0_processes": sys.argv[1]})
began = time.monotonic()
try:
    run(intrude)
    say("nobody was noticed")
except gpu.GpuError as error:
    say([str(error), time.monotonic() - began])
"""
    )
    with subprocess.Popen(["sleep", "100"]) as other:
        answer, seconds = machine.run(program, str(other.pid), PLACE=str(machine.place))
        other.kill()
    assert answer == f"GPU 0 is held by process {other.pid} (sleep), which is none of the submission's"
    assert seconds < 15
