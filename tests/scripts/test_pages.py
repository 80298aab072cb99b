"""The writer of sections in pages: a section is replaced and nothing else, a cell stays a cell."""

import pages
import pytest


def test_a_section_is_replaced_and_the_rest_stays(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n<!-- rows:start -->\nold\n<!-- rows:end -->\nend\n", encoding="utf-8")
    pages.write_section(page, "rows", "new\n")
    pages.write_section(page, "rows", "newer")
    assert page.read_text(encoding="utf-8") == "# Title\n<!-- rows:start -->\nnewer\n<!-- rows:end -->\nend\n"
    with pytest.raises(ValueError, match="no section between <!-- other:start --> and <!-- other:end -->"):
        pages.write_section(page, "other", "text")


def test_a_bar_or_a_line_end_in_a_cell_is_text():
    lines = pages.table(["a", "b"], [["1|2", "3\n4"]])
    assert lines == ["| a | b |", "|---|---|", "| 1\\|2 | 3 4 |"]
