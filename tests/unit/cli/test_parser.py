"""The parser's classes: our own help, and usage lines as they are given."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
import typer
from typer.core import TyperArgument, TyperOption
from typer.testing import CliRunner

from imagenetfs.cli.parser import App, Group, with_usage


def test_the_usage_line() -> None:
    app = App()

    @app.command(cls=with_usage("[SOURCE] -- COMMAND..."))
    def thing() -> None:
        """Do."""

    shown = CliRunner().invoke(app, ["--help"], prog_name="imagenetfs  thing")
    assert shown.output.startswith("Usage: imagenetfs thing [SOURCE] -- COMMAND...\n\nDo.\n")


def test_a_group_of_commands() -> None:
    app = App(cls=Group, help="Things.")
    for name in ("one", "two"):
        app.command(name)(lambda: None)
    shown = CliRunner().invoke(app, ["--help"], prog_name="imagenetfs")
    assert "Things.\n" in shown.output
    assert "  one" in shown.output and "  two" in shown.output


def things(
    names: Annotated[list[str], typer.Argument()],
    one: Annotated[str | None, typer.Option("--one")] = None,
    several: Annotated[list[str] | None, typer.Option("--several")] = None,
    count: Annotated[int | None, typer.Option("--count")] = None,
    flag: Annotated[bool, typer.Option("--flag")] = False,
) -> None:
    """Do."""
    print(json.dumps([list(names), one, list(several or ()), count, flag]))


def parsed(*words: str) -> Any:
    app = App()
    app.command()(things)
    shown = CliRunner().invoke(app, list(words))
    return json.loads(shown.stdout) if shown.exit_code == 0 else shown.exit_code


def test_values_of_all_kinds() -> None:
    texts = ("a", "b", "--one", "1", "--several", "x", "--several", "y")
    assert parsed(*texts, "--flag") == [["a", "b"], "1", ["x", "y"], None, True]
    assert parsed("a", "--count", "3") == [["a"], None, [], 3, False]
    assert parsed("a", "--count", "three") == parsed() == 2
    assert parsed("", "--one", "") == [[""], "", [], None, False]


def test_text_and_what_is_not_given_need_no_conversion(monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[str] = []
    for kind in (TyperArgument, TyperOption):
        convert = kind.process_value

        def note(self: Any, ctx: Any, value: Any, convert: Any = convert) -> Any:
            if value is not None and not isinstance(value, bool):  # those need none in any version
                converted.append(self.name)
            return convert(self, ctx, value)

        monkeypatch.setattr(kind, "process_value", note)
    assert parsed("a", "--one", "1", "--several", "x") == [["a"], "1", ["x"], None, False]
    assert not converted
    parsed("a", "--count", "3")
    assert converted == ["count"]
