"""The parser's classes: our own help, and usage lines as they are given."""

from __future__ import annotations

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
