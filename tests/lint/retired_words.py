"""Names that must not come back: ``python -m tests.lint.retired_words [DIRECTORY]``.

Two tables decide. renamed.tsv has what was renamed: a module must not stand under its old path
again, its old names must not be defined in it again, and no class anywhere may have the name of a
renamed class. docs/glossary.md has the words of the project; a word in its column "retired" is no
name of anything in the package (module, class, function, parameter, attribute or variable), and no
part of one: neither ``as_gate`` nor ``GateKeeper``.

In prose (docstrings, comments, messages) a sentence names the process that acts, and not a person:
the words of ``PERSONS`` stand nowhere in the package. Nor do those of ``NEVER``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
RENAMED = Path(__file__).with_name("renamed.tsv")
GLOSSARY = REPOSITORY / "docs" / "glossary.md"

_STILL_RIGHT = frozenset({"Identity", "Lease", "MountSettings", "Reads", "Root"})
"""Names of renamed classes that the field uses for something else that the package has or may have:
a lease has a time bound, a volume an identity, `imagenetfs.mount` has settings, the benchmarks
speak of reads, a tree has a root.
"""

PERSONS = ("whoever", "somebody", "nobody", "anybody", "everybody", "meanwhile", "one's")
"""Words by which a sentence leaves open which process acts, or when."""

_PERSONS = re.compile(rf"\b({'|'.join(PERSONS)})\b", re.IGNORECASE)

NEVER = ("shelf", "shelves", "survey", "surveyed", "surveys", "garden", "metafiles")
"""Retired words that are out of place in prose too: the field means nothing by them."""

_NEVER = re.compile(rf"(?<![A-Za-z])({'|'.join(NEVER)})(?![A-Za-z])", re.IGNORECASE)

_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass
class Retired:
    """What is refused: ``modules`` by dotted path, ``names`` by module, ``classes``, ``words``."""

    modules: dict[str, str] = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def word_in(self, name: str) -> str | None:
        """The retired word that a name is, or has among its parts, in the plural too."""
        if name.strip("_") in self.words:
            return name.strip("_")
        for part in map(str.lower, _PARTS.findall(name)):
            for word in (part, part.removesuffix("s")):
                if word in self.words:
                    return word
        return None


def load(renamed: str, glossary: str) -> Retired:
    """Both tables' rules. ValueError for a line of renamed.tsv that is none."""
    retired = Retired()
    rows = [line.split("\t") for line in renamed.splitlines() if not line.startswith("#")]
    taken = {new for kind, _, new in rows if kind == "module"}
    for kind, old, new in rows:
        if kind == "module":
            # A path that another module has taken, or a package, is in use again.
            if not any(other == old or other.startswith(f"{old}.") for other in taken):
                retired.modules[old] = new
        elif kind == "name":
            module, _, name = old.rpartition(".")
            retired.names[module, name] = new
            if name[0].isupper() and not name.isupper() and name not in _STILL_RIGHT:
                retired.classes[name] = (
                    f"{retired.classes[name]} or {new}" if (name in retired.classes) else new
                )
        else:
            raise ValueError(f"renamed.tsv: neither module nor name: {kind}")
    for new, words in glossary_rows(glossary):
        retired.words.update(dict.fromkeys(words, new))
    return retired


def glossary_rows(glossary: str) -> Iterator[tuple[str, list[str]]]:
    """Each word of the glossary's tables with the names in its last column."""
    for line in glossary.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3 and not set(cells[0]) <= set("-: "):
            yield cells[0], re.findall(r"`(\w+)`", cells[2])


def findings(directory: Path, retired: Retired) -> Iterator[str]:
    """A line for each name in the package at ``directory`` that is refused."""
    for path in sorted(directory.rglob("*.py")):
        parts = path.relative_to(directory.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        where = path.relative_to(directory.parent)
        if module in retired.modules:
            yield f"{where}: this module is {retired.modules[module]} now"
        word = module.rpartition(".")[2]
        old = retired.word_in(word)
        if old is not None:
            yield f"{where}: {old} is a retired word; say {retired.words[old]}"
        for number, text in enumerate(path.read_text().splitlines(), start=1):
            for person in _PERSONS.findall(text):
                yield f"{where}:{number}: {person} leaves open who acts; name the process"
            for old in _NEVER.findall(text):
                yield f"{where}:{number}: {old} is a retired word, in prose too; see the glossary"
        tree = ast.parse(path.read_bytes(), str(path))
        for line, name in sorted({*_in_tree(tree, module, retired)}):
            yield f"{where}:{line}: {name}"


def _in_tree(tree: ast.Module, module: str, retired: Retired) -> Iterator[tuple[int, str]]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            new = retired.names.get((module, node.name))
            if new is not None:
                yield node.lineno, f"{node.name} is {new} now"
    for at in ast.walk(tree):
        if isinstance(at, ast.ClassDef) and at.name.strip("_") in retired.classes:
            yield at.lineno, f"{at.name} is {retired.classes[at.name.strip('_')]} now"
        for line, name in _names(at):
            old = retired.word_in(name)
            if old is not None:
                what = "is" if name.strip("_") == old else f"has {old}, which is"
                yield line, f"{name} {what} a retired word; say {retired.words[old]}"


def _names(node: ast.AST) -> Iterator[tuple[int, str]]:
    """The names that a node uses or binds, of variables, attributes, parameters and definitions."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            yield node.lineno, name
        case ast.keyword(arg=str(name)):
            yield node.lineno, name
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield node.lineno, name


def main(arguments: list[str]) -> int:
    """Print what is found in the package; 1 if there is anything."""
    directory = Path(arguments[0]) if arguments else REPOSITORY / "imagenetfs"
    found = list(findings(directory, load(RENAMED.read_text(), GLOSSARY.read_text())))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
