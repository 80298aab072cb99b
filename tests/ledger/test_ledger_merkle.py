"""The tree hash against the test vectors of RFC 6962's reference implementation (certificate-transparency)."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ledger import merkle

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # of no leaves
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size: int) -> None:
    assert merkle.root(LEAVES[:size]).hex() == ROOTS[size]


def by_levels(leaves: list[bytes]) -> bytes:
    """The same tree built from the bottom up, as RFC 9162 describes it: a lone node moves up unchanged."""
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves] or [hashlib.sha256().digest()]
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [hashlib.sha256(b"\x01" + b"".join(pair)).digest() if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0]


@given(st.lists(st.binary(max_size=8), max_size=70))
def test_top_down_equals_bottom_up(leaves: list[bytes]) -> None:
    assert merkle.root(leaves) == by_levels(leaves)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_consistent_only_with_what_was_appended_to(leaves: list[bytes], data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(leaves)))
    old = merkle.root(leaves[:size])
    assert merkle.consistent(size, old, leaves)
    position = data.draw(st.integers(0, size - 1))
    changed = [*leaves[:position], leaves[position] + b"!", *leaves[position + 1 :]]
    assert not merkle.consistent(size, old, changed)
    assert not merkle.consistent(size, old, leaves[: size - 1])
    assert not merkle.consistent(-1, old, leaves)


def test_a_node_is_not_a_leaf() -> None:
    left, right = (hashlib.sha256(b"\x00" + leaf).digest() for leaf in (b"a", b"b"))
    assert merkle.root([b"a", b"b"]) != merkle.root([left + right])
