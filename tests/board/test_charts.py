"""The drawings have what they should, inside the picture."""

from __future__ import annotations

from xml.etree import ElementTree

from board_ledger import TASKS, TRACK, BoardLedger, curves, make_record

from harness.board.render import rendered


def words(svg: bytes) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_record_chart_has_its_panels_lines_and_gate(ledger: BoardLedger) -> None:
    svg = rendered(ledger.folder)["curves/2026-01-02_cpu-logic_no-kl.svg"]
    labels = words(svg)
    assert labels[0] == f"no-kl · {TRACK.id}"
    assert {"all tasks", *TASKS, "gate 90%", "gate 75%", "training accuracy", "seconds on the harness's clock"} <= set(
        labels
    )
    lines = [e.get("class") for e in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}polyline")]
    assert lines.count("run c0") == 8 * 5 and lines.count("line c0") == 5
    assert svg.count(b"<circle") == 8 * 5


def test_a_track_chart_labels_each_record_once_and_leaves_the_self_reported_out(ledger: BoardLedger) -> None:
    svg = rendered(ledger.folder)["curves/cpu-logic.svg"]
    labels = words(svg)
    assert [labels.count(name) for name in ("no-kl", "drop-groups", "baseline", "mine")] == [1, 1, 1, 0]
    assert "relative cost 0.610 (0.590–0.630)" in labels and "gate 74%, held-out" in labels


def test_a_track_chart_of_many_records_stays_readable(empty: BoardLedger) -> None:
    for i in range(10):
        empty.add(make_record(f"s{i}", 1 - i / 20, i + 1), curve=curves(2, 150 - i * 7, i))
    svg = rendered(empty.folder)["curves/cpu-logic.svg"]
    assert "grey: 3 more" in words(svg) and svg.count(b'class="other"') == 3


def test_everything_stays_inside_the_picture(ledger: BoardLedger) -> None:
    for name, svg in rendered(ledger.folder).items():
        if name.endswith(".svg"):
            root = ElementTree.fromstring(svg)
            width, height = float(root.get("width", 0)), float(root.get("height", 0))
            for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
                for x, y in (map(float, pair.split(",")) for pair in line.get("points", "").split()):
                    assert 0 <= x <= width and 0 <= y <= height
            for text in root.iter("{http://www.w3.org/2000/svg}text"):
                assert 0 <= float(text.get("x", 0)) <= width and 0 <= float(text.get("y", 0)) <= height
