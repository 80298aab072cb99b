"""When a run first stood at a share of the gate: by hand, and against the line that the charts draw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.board.curves import WINDOW, Post, smooth
from harness.board.targets import Reached, first_reached, targets


def posts(*made: tuple[int, int]) -> list[Post]:
    """(completions, correct) at each second."""
    return [
        Post(run=0, t_ms=1000 * second, completions=completions, correct=correct, tasks={})
        for second, (completions, correct) in enumerate(made, 1)
    ]


def test_the_first_full_window_that_is_right_often_enough_counts() -> None:
    run = posts((512, 512), (512, 0), (512, 256), (512, 512), (512, 512))
    assert first_reached(run, 500_000) == Reached(2000, 1024)  # the first post alone is too few to say 100%
    assert first_reached(run, 500_001) == Reached(4000, 2048)
    assert first_reached(run, 1_000_000) == Reached(5000, 2560)
    assert first_reached(run[:4], 1_000_000) is None
    assert first_reached([], 0) is None
    assert first_reached(posts((5000, 0), (0, 0)), 1) is None  # a post of nothing is right of nothing


def test_a_median_needs_more_than_half_of_the_runs() -> None:
    quick, slow, never = posts((1024, 1024)), posts((1024, 0), (1024, 0), (1024, 1024)), posts((1024, 0))
    (half, *_, whole) = targets([quick, slow, never], 900_001)
    assert (half.share, half.accuracy_ppm, whole.accuracy_ppm) == (50, 450_001, 900_001)
    assert (whole.reached, whole.wall_ms, whole.queries) == (2, 3000, 3072)
    last = targets([quick, slow, never, never], 900_000)[-1]
    assert (last.reached, last.wall_ms, last.queries) == (2, None, None)
    assert targets([quick, quick, slow, never], 900_000)[-1].wall_ms == 2000  # between the second and the third


POST = st.integers(0, 700).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))


@given(st.lists(POST, max_size=30), st.integers(1, 1_000_000), st.integers(1, 1_000_000))
def test_it_is_where_the_charts_line_first_stands_there(made: list[tuple[int, int]], one: int, other: int) -> None:
    run = posts(*made)
    asked = {post.t_ms / 1000: sum(n for n, _ in made[: i + 1]) for i, post in enumerate(run)}
    low, high = sorted((one, other))
    line = [
        second for second, accuracy in smooth(run, None) if asked[second] >= WINDOW and accuracy * 1e6 >= low - 1e-6
    ]
    found = first_reached(run, low)
    assert (found.wall_ms / 1000 if found else None) == (line[0] if line else None)
    assert found is None or found.queries == asked[found.wall_ms / 1000]
    later = first_reached(run, high)
    assert later is None or (found is not None and found.queries <= later.queries)
