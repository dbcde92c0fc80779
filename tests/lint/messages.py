"""All sentences that a user can meet, collected from the program's source: docs/messages.md.

What is collected: each error of the project that is made anywhere, with the exit code and the cause
that its class names; what is told beside (``say``, ``tell``, warnings, the log); what the doctor
finds, with its advice. A sentence is followed from where it is used to where it is written: through
constants, local names, conditions, sums, and functions that return it. What cannot be followed is
lost, and a test fails for it, but for those places that hand on another's sentence.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from imagenetfs import errors
from imagenetfs.cli.exit_codes import EXIT_CODES
from imagenetfs.errors import ExitCode, ImagenetfsError

PACKAGE = Path(errors.__file__).parent

_TOLD = {"say": 0, "tell": 0, "_say": 0, "_tell": 0}
_LOGGED = {"warning", "error", "critical"}
_FOUND = {"yellow", "red"}
_LISTS = {"warnings", "_problems", "problems", "notes", "told", "damaged"}
_LISTS_OF_SENTENCES = ("cli", "job", "library", "server", "tree")
"""Layers in which a list of such a name holds sentences."""

_MAKERS = {"_complain": "ArchiveError"}
"""Methods that make an error of what they are given."""

_NAME = re.compile(r"[A-Za-z_]\w*")
_DEEPEST = 6
_DEFINES_AN_ERROR = re.compile(r"^class \w+Error\(", re.MULTILINE)

HANDED_ON = frozenset(
    {
        "cache/segment_handles.py: _close",
        "cache/segment_handles.py: check",
        "cache/stager.py: _work",
        "cli/error_report.py: _tell_unexpected",
        "cli/error_report.py: guarded",
        "cli/mount.py: mount",
        "cli/options.py: settings_of",
        "cli/settings.py: settings",
        "cli/stage.py: _run",
        "cli/verify.py: _told",
        "formats/tar/member_reader.py: _complain",
        "index/bulk_workers.py: _adopt",
        "index/bulk_workers.py: _build",
        "index/bulk_workers.py: _build_left",
        "index/table_builder.py: _scan_tar",
        "job/daemon.py: _wait_ready",
        "job/daemon.py: reported_error",
        "job/doctor/node.py: fuse",
        "job/doctor/source.py: _contents",
        "job/doctor/source.py: source",
        "job/mount_handle.py: _clear_after_death",
        "job/run_dir.py: prepare_root",
        "library/errors.py: as_python_error",
        "library/mount_helper.py: _say",
        "library/mount_helper.py: keep_mount",
        "library/mount_helper.py: main",
        "library/paths.py: _walk",
        "library/settings.py: spec_of",
        "system/confined_call.py: call_confined",
        "tree/catalogue.py: build_catalogue",
        "tree/class_backend.py: class_backend",
        "tree/directory_split.py: listing",
        "tree/discovery_walk.py: _list",
        "tree/discovery.py: lose",
        "tree/per_class_split.py: listing",
        "tree/split_backend.py: _all",
        "tree/split_backend.py: _divide",
        "tree/versions/downsampled.py: _tell",
        "tree/versions/winter21.py: _in_levels",
    }
)
"""``module: function`` of what is told there as it was made elsewhere (an error's own text, a note
of the settings), or is no sentence (a file's ``tell``, progress).
"""


@dataclass(frozen=True, slots=True)
class Message:
    """A sentence, with ``{name}`` for what is filled in. ``kind``: the error's class, or how it is
    told; ``code``: what a command exits with, where it ends by it.
    """

    text: str
    kind: str
    code: ExitCode | None = None
    cause: str = ""
    remedy: str = ""

    @property
    def in_python(self) -> bool:
        """Whether no command says it, but an exception of the library."""
        return self.kind in _OF_THE_TREE


@dataclass(slots=True)
class Module:
    """What a module defines, by name."""

    path: str
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, list[ast.FunctionDef]] = field(default_factory=dict)


@dataclass(slots=True)
class Collected:
    """The messages, and the places that could not be followed."""

    messages: set[Message] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)


@cache
def error_classes() -> dict[str, type[ImagenetfsError]]:
    """Every error class of the project by name, those outside of errors.py too; not those that are
    made while a program runs, as of what another process reported.
    """
    for path in sorted(Path(errors.__file__).parent.rglob("*.py")):
        if _DEFINES_AN_ERROR.search(path.read_text()):
            parts = path.relative_to(Path(errors.__file__).parents[1]).with_suffix("").parts
            import_module(".".join(parts))
    found: dict[str, type[ImagenetfsError]] = {}
    todo: list[type[ImagenetfsError]] = [ImagenetfsError]
    while todo:
        one = todo.pop()
        if getattr(sys.modules.get(one.__module__), one.__name__, None) is one:
            found[one.__name__] = one
        todo += one.__subclasses__()
    return found


def collect() -> Collected:
    """Everything in the package."""
    return _collected_in(PACKAGE)


@cache
def _collected_in(package: Path) -> Collected:
    trees = {path: ast.parse(path.read_text()) for path in sorted(package.rglob("*.py"))}
    modules = {path: _module(path, tree, package) for path, tree in trees.items()}
    everywhere: dict[str, list[ast.FunctionDef]] = {}
    constants: dict[str, ast.expr] = {}
    for module in modules.values():
        for name, functions in module.functions.items():
            everywhere.setdefault(name, []).extend(functions)
        constants.update(module.constants)
    found = Collected()
    for path, tree in trees.items():
        _Visitor(modules[path], everywhere, constants, found).visit(tree)
    return found


def _module(path: Path, tree: ast.Module, package: Path) -> Module:
    module = Module(str(path.relative_to(package)))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            module.constants[node.targets[0].id] = node.value
    for inner in ast.walk(tree):
        if isinstance(inner, ast.FunctionDef):
            module.functions.setdefault(inner.name, []).append(inner)
    return module


class _Visitor(ast.NodeVisitor):
    """Finds the calls that make or tell a sentence."""

    def __init__(
        self,
        module: Module,
        everywhere: dict[str, list[ast.FunctionDef]],
        constants: dict[str, ast.expr],
        found: Collected,
    ) -> None:
        self._module = module
        self._everywhere = everywhere
        self._constants = constants
        self._found = found
        self._classes = error_classes()
        self._within: list[ast.FunctionDef] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._within.append(node)
        self.generic_visit(node)
        self._within.pop()

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        name = _called(node)
        if not node.args:
            return
        if name in self._classes:
            self._add_error(node, [self._classes[name]])
        elif name == "kind":
            self._add_error(node, self._kinds())
        elif name in _MAKERS:
            self._add_error(node, [self._classes[_MAKERS[name]]])
        elif name in _TOLD:
            self._add(node, node.args[0], "told")
        elif name in _LOGGED and isinstance(node.func, ast.Attribute) and _is_log(node.func.value):
            self._add(node, node.args[0], "logged")
        elif name in _FOUND and len(node.args) > 1:
            remedy = self._texts(node.args[2]) if len(node.args) > 2 else [""]
            self._add(node, node.args[1], "doctor", remedy[0] if remedy else "")
        elif name in ("append", "extend") and isinstance(node.func, ast.Attribute):
            is_list = _called(ast.Call(node.func.value, [], [])) in _LISTS
            if is_list and self._module.path.startswith(_LISTS_OF_SENTENCES):
                self._add(node, node.args[0], "told")

    def _kinds(self) -> list[type[ImagenetfsError]]:
        """The classes that a local ``kind`` may be."""
        names = {
            each.id
            for function in self._within
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _is_named(node, "kind")
            for each in ast.walk(node.value)
            if isinstance(each, ast.Name)
        }
        return [self._classes[name] for name in sorted(names & self._classes.keys())]

    def _add_error(self, node: ast.Call, kinds: list[type[ImagenetfsError]]) -> None:
        at = 1 if kinds and kinds[0].__name__ == "PathRefusedError" else 0
        texts = self._texts(node.args[at])
        if not texts:
            self._lose(node)
        for kind in kinds:
            cause = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
            for text in texts:
                self._put(Message(text, kind.__name__, kind.exit_code, cause))

    def _add(self, node: ast.Call, said: ast.expr, kind: str, remedy: str = "") -> None:
        texts = self._texts(said)
        if not texts:
            self._lose(node)
        for text in texts:
            self._put(Message(text, kind, remedy=remedy))

    def _put(self, message: Message) -> None:
        if re.search(r"[a-z]{2}", re.sub(r"\{\w*\}", "", message.text)):
            self._found.messages.add(message)

    def _lose(self, node: ast.Call) -> None:
        where = self._within[-1].name if self._within else ""
        self._found.lost.add(f"{self._module.path}: {where}")

    # --- from an expression to its texts ----------------------------------------------------------

    def _texts(self, node: ast.expr, depth: int = 0) -> list[str]:
        """The texts that an expression may be; none where it cannot be followed."""
        if depth > _DEEPEST:
            return []
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return ["".join(_part(part) for part in parts)]
            case ast.IfExp(body=body, orelse=orelse):
                return [*self._texts(body, depth + 1), *self._texts(orelse, depth + 1)]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                firsts = self._texts(left, depth + 1) or [_placeholder(left)]
                lasts = self._texts(right, depth + 1) or [_placeholder(right)]
                return [first + last for first in firsts for last in lasts]
            case ast.BinOp(left=left, op=ast.Mod()):
                return self._texts(left, depth + 1)
            case ast.Name(id=name):
                return self._texts_of_name(name, depth)
            case ast.Call():
                return self._texts_of_call(node, depth)
            case ast.List(elts=several) | ast.Tuple(elts=several):
                return [text for one in several for text in self._texts(one, depth + 1)]
            case ast.BoolOp(values=several):
                return [text for one in several for text in self._texts(one, depth + 1)]
            case ast.GeneratorExp(elt=one) | ast.ListComp(elt=one):
                return self._texts(one, depth + 1)
        return []

    def _texts_of_name(self, name: str, depth: int) -> list[str]:
        values = [
            value
            for function in self._within
            for node in ast.walk(function)
            for value in _assigned(node, name)
        ]
        constants = self._constants | self._module.constants
        if not values and name in constants:
            values = [constants[name]]
        return [text for value in values for text in self._texts(value, depth + 1)]

    def _texts_of_call(self, node: ast.Call, depth: int) -> list[str]:
        name = _called(node)
        if isinstance(node.func, ast.Attribute) and name == "join":
            return self._texts(node.args[0], depth + 1) if node.args else []
        if name == "str" and node.args:
            return []
        functions = self._module.functions.get(name) or self._everywhere.get(name, [])
        found: list[str] = []
        for function in functions if len(functions) <= 2 else ():
            self._within.append(function)
            for inner in ast.walk(function):
                if isinstance(inner, ast.Return | ast.Yield) and inner.value is not None:
                    found += self._texts(inner.value, depth + 1)
            self._within.pop()
        return found


def _called(node: ast.Call) -> str:
    func = node.func
    return func.id if isinstance(func, ast.Name) else getattr(func, "attr", "")


def _is_log(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "log"


def _assigned(node: ast.AST, name: str) -> Iterator[ast.expr]:
    """What is assigned to a name, added to it, or taken for it, by a statement."""
    match node:
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=value):
            at = next((n for n, one in enumerate(names) if getattr(one, "id", "") == name), None)
            if at is not None:
                is_tuple = isinstance(value, ast.Tuple) and len(value.elts) == len(names)
                yield value.elts[at] if is_tuple and isinstance(value, ast.Tuple) else value
        case ast.Assign() if _is_named(node, name):
            yield node.value
        case ast.AugAssign(target=ast.Name(id=target), value=value) if target == name:
            yield value
        case ast.NamedExpr(target=ast.Name(id=target), value=value) if target == name:
            yield value
        case ast.For(target=ast.Name(id=target), iter=value) if target == name:
            yield value
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=target), attr="append"), args=[value]
        ) if target == name:
            yield value


def _is_named(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.FormattedValue)
    if isinstance(node.value, ast.Constant):
        return str(node.value.value)
    return _placeholder(node.value)


def _placeholder(node: ast.expr) -> str:
    """``{error.strerror}`` as ``{strerror}``: the last name of an expression."""
    names = _NAME.findall(re.sub(r"'[^']*'", "", ast.unparse(node)))
    usual = [name for name in names if name not in ("str", "self", "join", "decode", "len", "for")]
    return "{" + (usual[-1].strip("_") if usual else "...") + "}"


_OF_THE_TREE = {
    name for name, one in error_classes().items() if issubclass(one, errors.TreeError)
} | {"TreeError"}


# --- the page -------------------------------------------------------------------------------------

_ABOUT = """\
Every sentence that imagenetfs says when something is wrong, or to be known of, by the code that the
command exits with. `{name}` stands for what is filled in. `run` exits with 125 for all of them but
15, 126 and 127. In a mount, a read that fails says a number (EIO, EACCES, ...); the sentence is in
`imagenetfs status` and in the log.
"""
_KINDS = {
    "doctor": "What `imagenetfs doctor` finds",
    "told": "Notes and warnings",
    "logged": "In the log",
}


def messages_page() -> str:
    """docs/messages.md."""
    found = collect().messages
    head = "*Written by `python -m tests.lint.reference_pages` from the program's own texts: edit"
    parts = ["# Messages", f"{head}\nthose, not this page.*", _ABOUT.strip()]
    meanings = {code: (meaning, todo) for code, meaning, todo in EXIT_CODES}
    for code in ExitCode:
        some = [message for message in found if message.code is code and not message.in_python]
        if some:
            meaning, todo = meanings[str(int(code))]
            parts.append(f"## {int(code)}: {meaning}")
            remedy = todo if todo and code is not ExitCode.INTERNAL else "the sentence says it"
            rows = [(m.text, str(int(code)), _cause(m), remedy) for m in some]
            parts.append(_table(("sentence", "exit code", "cause", "remedy"), rows))
    python = [(m.text, _cause(m)) for m in found if m.in_python]
    parts += ["## Exceptions of `imagenetfs.open`", _table(("sentence", "cause"), python)]
    for kind, title in _KINDS.items():
        told = [(m.text, m.remedy or "-") for m in found if m.kind == kind]
        top = ("finding", "remedy") if kind == "doctor" else ("sentence",)
        parts += [f"## {title}", _table(top, [row[: len(top)] for row in told])]
    return "\n\n".join(parts) + "\n"


def _cause(message: Message) -> str:
    """What the error's class says of itself; of the base class nothing."""
    return "-" if message.kind == "ImagenetfsError" else message.cause


def _table(head: tuple[str, ...], rows: list[Any]) -> str:
    lines = [
        head,
        tuple("---" for _ in head),
        *sorted(set(rows), key=lambda row: (row[0].lower(), row)),
    ]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    """One line, in which nothing is taken for a mark of the page."""
    plain = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"(?<![`\w])<([^>]*)>", r"&lt;\1&gt;", plain)


def pattern_of(text: str) -> re.Pattern[str]:
    """What a message looks like when its names are filled in."""
    return re.compile(".*".join(map(re.escape, re.split(r"\{[\w.]*\}", text))), re.DOTALL)
