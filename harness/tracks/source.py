"""What a Python file does, as bytes that stay the same while its prose is edited.

The file's syntax tree is written out in a form of our own. Left out: comments and line breaks (they are in no tree),
docstrings and other statements that are a string, the texts that a `raise` gives its error, and from which of our files
a name is imported: a file that is moved does what it did, and what it is imported from is hashed too.

The same on Python 3.11 to 3.13, where this form was compared over all files of harness/. Between these the grammar's
trees differ in this: new fields that are empty where the new syntax is not used (`type_params` of a function or class,
3.12), which are left out as every empty field is; f-strings, which 3.12 parses itself, and whose constant parts could
be cut in other places, so they are joined here; and `ast.dump`, which is not used. Texts are written in ASCII with
escapes, since what Python prints as it is depends on its Unicode tables.
"""

from __future__ import annotations

import ast
from typing import Any

_REDUNDANT = {"ctx", "kind", "type_comment", "type_ignores"}  # of a node's fields: they follow from the rest


def canonical(source: str) -> bytes:
    """The bytes of a file's source. Raises SyntaxError."""
    tree = _Plain().visit(ast.parse(source))
    return _written(tree).encode("ascii")


def _written(value: Any) -> str:
    if isinstance(value, ast.Constant):
        return f"Constant({value.value!a})"
    if isinstance(value, ast.AST):
        fields = {name: getattr(value, name, None) for name in sorted(value._fields) if name not in _REDUNDANT}
        inside = ",".join(f"{name}={_written(field)}" for name, field in fields.items() if field not in (None, []))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    return ascii(value)


class _Plain(ast.NodeTransformer):
    """Takes out of a tree what decides nothing."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if _is_text(node.value) and isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args = [_TEXT if _is_text(argument) else argument for argument in node.exc.args]
            for word in node.exc.keywords:
                word.value = _TEXT if _is_text(word.value) else word.value
        return self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if (node.module or "").partition(".")[0] == "harness":
            node.module = "harness"
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        self.generic_visit(node)
        parts: list[ast.expr] = []
        for part in node.values:
            last = parts[-1] if parts else None
            if not (isinstance(part, ast.Constant) and isinstance(part.value, str)):
                parts.append(part)
            elif isinstance(last, ast.Constant) and isinstance(last.value, str):
                parts[-1] = ast.Constant(last.value + part.value)
            elif part.value:
                parts.append(part)
        node.values = parts
        return node

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.format_spec, ast.JoinedStr) and not node.format_spec.values:
            node.format_spec = None
        return node


_TEXT = ast.Constant("")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
