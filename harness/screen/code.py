"""One Python file of a submission, read as a syntax tree and never executed: imports, names, calls, literals."""

from __future__ import annotations

import ast
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.screen.findings import BIG_INTEGER, TABLE, Finding, finding, shown
from harness.screen.names import (
    ATTRIBUTES,
    CLIENT,
    HELD,
    HIDING,
    HOST_PATH,
    ORDINARY,
    reported_name,
)
from harness.screen.text import entropy

DENSE_BITS = 5.0  # entropy a character of a whole literal


@dataclass(frozen=True)
class Folder:
    """What a file's names may stand for besides Python's library."""

    packages: frozenset[str] = frozenset()  # that its code may import
    modules: frozenset[str] = frozenset()  # its own
    others: frozenset[str] = frozenset()  # its files that are not code


class Module:
    """One Python file. After `findings`: `dense`, characters of dense literals; `numbers`, bytes its numbers carry."""

    def __init__(self, name: str, text: str, folder: Folder) -> None:
        self.dense = self.numbers = 0
        self._name, self._text, self._folder = name, text, folder
        self._findings: list[Finding] = []
        self._names: dict[str, str] = {}  # a name of this file -> the dotted name that it stands for

    def findings(self) -> list[Finding]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd escapes, on a stream that belongs to somebody else
                tree = ast.parse(self._text)
        except SyntaxError as error:
            self._report("syntax", error.lineno, shown(error.msg))
            return self._findings
        except (ValueError, RecursionError, MemoryError) as error:  # NUL, or nested too deep for the parser
            self._report("syntax", None, f"cannot be parsed: {shown(str(error)) or type(error).__name__}")
            return self._findings
        nodes = list(_walk(tree))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Assign):
                self._alias(node)
        documentation = {id(text) for node in nodes if (text := _docstring(node)) is not None}
        inner: set[int] = set()  # parts of a longer dotted name, which is looked at whole
        for node in nodes:
            if isinstance(node, ast.Name):
                if id(node) not in inner:
                    self._plain_name(node)
            elif isinstance(node, ast.Attribute):
                if id(node) not in inner:
                    self._dotted(node, inner)
            elif isinstance(node, ast.Constant):
                self._constant(node, id(node) in documentation)
            elif isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
                self._table(node)
        if not self._text.isascii():
            self._spellings(nodes)
        self._patches(nodes)
        self._crowded_lines(nodes)
        return self._findings

    def _report(self, code: str, line: int | None, message: str) -> None:
        self._findings.append(finding(code, self._name, line, message))

    # ------------------------------------------------------------ imports

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                self._imported(alias.name, None, node.lineno)
            return
        if node.level:  # relative: within the folder, or an error when it runs
            if node.level > len(PurePosixPath(self._name).parts) - 1:
                self._report("foreign-import", node.lineno, "a relative import that leaves the folder")
            return
        module = node.module or ""
        for alias in node.names:
            if alias.name == "*":
                self._report("hidden-code", node.lineno, f"from {shown(module)} import *: its names are unknown")
            else:
                self._names[alias.asname or alias.name] = f"{module}.{alias.name}"
            self._imported(module, alias.name, node.lineno)

    def _imported(self, module: str, name: str | None, line: int) -> None:
        """`import module`, or `from module import name`."""
        top = module.partition(".")[0]
        full = f"{module}.{name}" if name else module
        own = top in self._folder.modules | self._folder.packages
        if top == "harness":
            if not (full == "harness.client" or (module == "harness.client" and name in CLIENT)):
                self._report("harness-import", line, shown(full))
        elif top in HIDING:
            self._report("hidden-code", line, f"{shown(full)}: {HIDING[top][1]}")
        elif not own and top not in sys.stdlib_module_names:
            self._report("foreign-import", line, shown(full))
        elif not own and top not in ORDINARY:
            self._report("review-import", line, shown(full))
        else:
            self._look_up(full, line)
            if top == "tokenizers" or (top == "transformers" and name and "Tokenizer" in name):
                self._report("decodes-tokens", line, shown(full))

    def _alias(self, node: ast.Assign) -> None:
        """`run = os.system`: another name for something imported."""
        parts = _parts(node.value)
        if parts and parts[0] in self._names:
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id not in self._names:
                    self._names[target.id] = ".".join([self._names[parts[0]], *parts[1:]])

    # ------------------------------------------------------------ names

    def _look_up(self, full: str, line: int) -> None:
        """Report a dotted name, or its longest beginning that is listed."""
        parts = full.split(".")
        held = [i for i, part in enumerate(parts) if i and part.lstrip("_") in HELD]
        if held:
            parts = [parts[held[-1]].lstrip("_"), *parts[held[-1] + 1 :]]
            if parts[0] in HIDING:
                self._report("hidden-code", line, f"{shown(full)}: {HIDING[parts[0]][1]}")
            elif parts[0] not in ORDINARY:
                self._report("review-call", line, f"{shown(full)}: another module's {parts[0]}")
        if entry := reported_name(parts):
            name, (code, why) = entry
            self._report(code, line, f"{shown(name)} {why}")

    def _dotted(self, node: ast.Attribute, inner: set[int]) -> None:
        attributes: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            attributes.append(value.attr)
            value = value.value
            inner.add(id(value))
        if not isinstance(value, ast.Name):
            inner.discard(id(value))
        elif value.id in self._names:
            self._look_up(".".join([self._names[value.id], *reversed(attributes)]), node.lineno)
            if "Tokenizer" in attributes[-1]:
                self._report("decodes-tokens", node.lineno, shown(attributes[-1]))
        else:
            inner.discard(id(value))  # __builtins__.exec
        for name in attributes:
            self._attribute(name, node.lineno)

    def _attribute(self, name: str, line: int) -> None:
        if name in ATTRIBUTES:
            code, why = ATTRIBUTES[name]
            self._report(code, line, f".{name} {why}")

    def _plain_name(self, node: ast.Name) -> None:
        if node.id == "__file__":
            self._report("own-file", node.lineno, "__file__")
        elif node.id in self._names:
            if "." in self._names[node.id]:  # from os import system
                self._look_up(self._names[node.id], node.lineno)
        elif isinstance(node.ctx, ast.Load) and (entry := reported_name([node.id])):
            code, why = entry[1]
            self._report(code, node.lineno, f"{shown(node.id)} {why}")

    def _spellings(self, nodes: Sequence[ast.AST]) -> None:
        """Names as Python reads them: it takes a full-width `ｅval` for `eval`, and so do the lists of names."""
        for node in nodes:
            for field in ("id", "attr", "arg", "name", "asname", "module", "rest", "names", "kwd_attrs"):
                value = getattr(node, field, None)
                for name in value if isinstance(value, list) else [value]:
                    if isinstance(name, str) and not name.isascii():
                        self._report("non-ascii-name", getattr(node, "lineno", None), shown(name))

    # ------------------------------------------------------------ calls

    def _call(self, node: ast.Call) -> None:
        parts = _parts(node.func) or []
        full = ".".join([self._names.get(parts[0], parts[0]), *parts[1:]]) if parts else ""
        keywords = {word.arg: word.value for word in node.keywords if word.arg}

        def is_literally(name: str, expected: object) -> bool:
            value = keywords.get(name)
            return isinstance(value, ast.Constant) and value.value is expected

        if full in ("getattr", "setattr", "delattr", "hasattr") and len(node.args) > 1:
            self._by_name(node, full)
        if full == "torch.load" and not is_literally("weights_only", True):
            self._report("hidden-code", node.lineno, "torch.load without weights_only=True unpickles")
        if "allow_pickle" in keywords and not is_literally("allow_pickle", False):
            self._report("hidden-code", node.lineno, "allow_pickle unpickles")
        if "trust_remote_code" in keywords and not is_literally("trust_remote_code", False):
            self._report("hidden-code", node.lineno, "trust_remote_code runs code from a folder")
        if isinstance(node.func, ast.Attribute) and node.func.attr == "decode":
            arguments = [*node.args, *keywords.values()]  # bytes.decode("utf-8") is another thing
            if any(not (isinstance(entry, ast.Constant) and isinstance(entry.value, str)) for entry in arguments):
                self._report("decodes-tokens", node.lineno, ".decode(…)")

    def _by_name(self, node: ast.Call, function: str) -> None:
        owner, name = node.args[0], node.args[1]
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            self._report("dynamic-attribute", node.lineno, f"{function} with a computed name")
            return
        parts = _parts(owner)
        if parts and parts[0] in self._names:
            self._look_up(".".join([self._names[parts[0]], *parts[1:], name.value]), node.lineno)
        self._attribute(name.value, node.lineno)

    def _patches(self, nodes: Sequence[ast.AST]) -> None:
        for node in nodes:
            targets: Sequence[ast.expr] = []
            if isinstance(node, ast.Assign | ast.Delete):
                targets = node.targets
            elif isinstance(node, ast.AugAssign | ast.AnnAssign):
                targets = [node.target]
            elif isinstance(node, ast.Call) and _parts(node.func) in (["setattr"], ["delattr"]) and node.args:
                targets = [node.args[0]]
            for target in targets:
                parts = _parts(target)
                if not parts or parts[0] not in self._names or (len(parts) == 1 and not isinstance(node, ast.Call)):
                    continue
                full = ".".join([self._names[parts[0]], *parts[1:]])
                if not full.startswith("torch.backends."):  # how torch is configured
                    self._report("patching", target.lineno, f"{shown(full)} is replaced")

    # ------------------------------------------------------------ literals

    def _constant(self, node: ast.Constant, documentation: bool) -> None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, str | bytes | int | float | complex):
            return
        if not isinstance(value, str | bytes):
            self.numbers += _carried(value)
            if isinstance(value, int) and value.bit_length() > BIG_INTEGER:
                self._report("data", node.lineno, f"an integer of {value.bit_length():,} bits")
            return
        if len(value) >= (64 if isinstance(value, bytes) else 128) and entropy(value) > DENSE_BITS:
            self.dense += len(value)
            self._report("data", node.lineno, f"a literal of {len(value):,} symbols of {entropy(value):.1f} bits")
        if documentation:
            return
        text = value if isinstance(value, str) else value.decode("latin-1")
        if path := HOST_PATH.search(text):
            self._report("host-path", node.lineno, shown(path[0]))
        if text in self._folder.others or PurePosixPath(text).name in self._folder.others:
            self._report("own-file", node.lineno, shown(text))
        if "model.safetensors" in text:
            self._report("own-weights", node.lineno, "model.safetensors")
        if "tokenizer.json" in text:
            self._report("decodes-tokens", node.lineno, "tokenizer.json")

    def _table(self, node: ast.List | ast.Tuple | ast.Set | ast.Dict) -> None:
        entries = [*node.keys, *node.values] if isinstance(node, ast.Dict) else node.elts
        constants = 0
        for entry in entries:
            operand = entry.operand if isinstance(entry, ast.UnaryOp) else entry
            constants += isinstance(operand, ast.Constant)
        if constants > TABLE:
            self._report("data", node.lineno, f"a literal of {constants:,} constants")

    def _crowded_lines(self, nodes: Sequence[ast.AST]) -> None:
        starts = Counter(node.lineno for node in nodes if isinstance(node, ast.stmt))
        crowded = {line: count - 2 for line, count in starts.items() if count > 2}  # `if x: y` is two on a line
        if sum(crowded.values()) > 5:
            lines = f"{len(crowded)} line{'s' * (len(crowded) != 1)}"
            self._report("layout", min(crowded), f"{lines} with several statements")


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, parents before children, in the order of the source; no recursion, however deep."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        children: list[ast.AST] = []
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                children += [entry for entry in value if isinstance(entry, ast.AST)]
            elif isinstance(value, ast.AST) and value._fields:  # Load, Add and the like say nothing here
                children.append(value)
        stack += reversed(children)


def _parts(node: ast.AST) -> list[str] | None:
    """["os", "path", "join"] for os.path.join; None for anything that is not a dotted name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else None


def _docstring(node: ast.AST) -> ast.Constant | None:
    if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            return first.value
    return None


def _carried(value: complex) -> int:
    """Bytes of information that a number can carry."""
    return max(1, (value.bit_length() + 7) // 8) if isinstance(value, int) else 8
