"""Hostile text on a page is text and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from board_ledger import BoardLedger, make_record
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.board import charts
from harness.board.markdown import plain
from harness.board.render import rendered

HOSTILE = [
    "a | b", r"\| c \\| d", "`code`", "[x](https://evil.example)", "![i](x.png)", "<img src=x onerror=1>",
    "<!-- c -->", "&lt;b&gt; &#60;", "@everyone", "me@evil.example", "#1 fixes owner/repo#2", "https://evil.example",
    "www.evil.example", "www.1.com", "**bold** _it_ ~~gone~~", "$$\\int$$", "a\u202eb\u200bc\ufeff\U000e0041",
    "x\u2028y\u0085z", "- list", "1. one", "2) two", ": :---: :", "[^1]", "{{ 7 * 7 }}", "</desc><script>", "\\",
    "\\\\|", "\ud7ff\ue000", "lr 3.5e-4, 0.5 x", "e.g. A.B.C",
]  # fmt: skip


def readers() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def assert_is_only_text(markdown: str) -> str:
    """The markdown parses to text and nothing else; returns that text."""
    (inline,) = readers().parseInline(markdown)
    assert {token.type for token in inline.children or []} <= {"text", "text_special"}, markdown
    text = "".join(token.content for token in inline.children or [])
    assert not re.search(r"://|(?i:www\.)|(?i:mailto:)", markdown)
    assert "@" not in text and "#" not in text
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f\x00-\x1f\x7f-\x9f]", text)
    return text


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_examples_are_only_text(text: str) -> None:
    assert_is_only_text(plain(text))


@given(st.text(max_size=60) | st.text(alphabet="\\|`*_[]()<>!&#@:/.~$ -+w1a{}'\"", max_size=30))
def test_any_text_is_only_text_and_survives(text: str) -> None:
    read = assert_is_only_text(plain(text))
    ascii_only = "".join(c for c in text if " " <= c <= "~")
    if text == ascii_only and text.strip():
        assert read == " ".join(text.replace("@", "\uff20").replace("#", "\uff03").split())


@given(st.lists(st.text(max_size=40) | st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_a_table_of_hostile_text_keeps_its_cells(texts: list[str]) -> None:
    table = "| a | b |\n|---|---|\n" + "".join(f"| {plain(text)} | **{plain(text)}** — x |\n" for text in texts)
    tokens = readers().parse(table)
    assert sum(token.type == "td_open" for token in tokens) == 2 * len(texts)
    assert sum(token.type == "strong_open" for token in tokens for token in token.children or []) == len(texts)
    assert not any("html" in token.type or "link" in token.type for token in tokens)


def test_the_pages_of_a_hostile_ledger_hold_only_our_own_structure(empty: BoardLedger) -> None:
    for i, text in enumerate(HOSTILE):
        clean = re.sub(r"[\x00-\x1f\x7f]", "", text)
        said: dict[str, Any] = {"title": clean, "change": clean, "contributors": [clean, clean], "reasons": [clean]}
        said |= {"based_on": f"h{i}", "source": "https://x.example/~a_b__c/?q=%5D#L1=+--", "techniques": ["x--y"]}
        empty.add(make_record(f"h{i}", 1 - i / 100, i % 28 + 1, record=i % 2 == 0, **said), official=i % 3 > 0)
    pages = rendered(empty.folder)
    for name in ("README.md", "cpu-logic.md", *(name for name in pages if name.startswith("records/"))):
        tokens = readers().parse(pages[name].decode())
        flat = [child for token in tokens for child in [token, *(token.children or [])]]
        assert [token.content.strip() for token in flat if "html" in token.type] == [f"<!-- {charts.GENERATED} -->"]
        links = {str(token.attrs["href"]) for token in flat if token.type == "link_open"}
        links -= {"https://x.example/~a_b__c/?q=%5D#L1=+--"}  # the one link that a submitter may set
        ours = (
            r"(\.\./)?(README|cpu-logic|cpu-deduction)\.md|((\.\./){1,2}(harness|submissions|records)|records)/[\w./-]+"
        )
        assert all(re.fullmatch(ours, link) for link in links), links
        for row in re.findall(r"(?m)(?:^\|.*\n)+", pages[name].decode()):
            (rows,) = [[t.type for t in readers().parse(row)].count("tr_open")]
            cells = [token.type for token in readers().parse(row)].count("td_open")
            assert cells % (rows - 1) == 0 and rows == row.count("\n") - 1
            assert {len(re.findall(r"(?<!\\)\|", line)) for line in row.splitlines()} == {
                row.splitlines()[0].count("|")
            }
