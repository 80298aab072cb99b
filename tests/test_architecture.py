"""The shape of the code: no file, function or parameter list above its limit."""

import sizes


def test_nothing_is_larger_than_its_limit():
    assert sizes.violations(sizes.python_files()) == []


def test_a_file_a_function_and_a_parameter_list_above_the_limit_are_named():
    long = "def f(a, b, c, d, e, f, g, h, i):\n" + "    x = 1\n" * 451
    found = sizes.violations({"harness/new.py": long})
    assert [line.split(": ")[1].split(",")[0] for line in found] == ["452 lines", "452 lines", "9 parameters"]


def test_the_frozen_room_is_small():
    files = sizes.python_files()
    assert sum(text.count("\n") for path, text in files.items() if path.startswith("harness/frozen/")) < 1200
