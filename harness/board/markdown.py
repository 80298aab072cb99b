"""Hostile text in a Markdown page: everything that a submitter wrote passes through `plain`."""

from __future__ import annotations

import re

# Characters that are invisible or reorder their neighbours. Written out, not asked of unicodedata,
# whose answer depends on the Python that runs.
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u034f\u0600-\u0605\u061c\u070f\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)
# A full stop stays where it cannot begin anything: between digits, and at the end of a word.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>!|~&:^$]|^[-+=]|(?<=[0-9])\)|\.(?<![0-9]\.(?=[0-9]))(?<![^0-9]\.(?=\s|$))")


def plain(text: str) -> str:
    """One line of Markdown that reads as `text` and is nothing but text, in a table or out of one.

    Punctuation with a meaning becomes a character reference. That is not enough for `@` and `#`, which
    some readers link after they have decoded references: those become their full-width twins.
    """
    visible = " ".join(_INVISIBLE.sub("\ufffd", text).split())
    visible = visible.replace("@", "\uff20").replace("#", "\uff03")
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", visible) or "\ufffd"
