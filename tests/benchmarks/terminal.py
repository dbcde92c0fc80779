"""The tables as the terminal shows them."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from . import report
from .results import Part


def show(console: Console, parts: dict[str, Part], names: list[str]) -> None:
    """Print the tables of the parts that were run now, then the targets."""
    for name in names:
        for table in report.tables(name, parts[name]):
            console.print(_rich(_narrow(table), f"{name}: {table.title}"))
        for system, why in parts[name].absent.items():
            console.print(f"{system} is absent: {why}", markup=False)
    console.print(_rich(report.targets(parts), "Targets"))


def _narrow(table: report.Table) -> report.Table:
    """Ratios without their ranges, which stand in the document."""
    rows = [tuple(cell.partition(" (")[0] for cell in row) for row in table.rows]
    return report.Table(table.title, table.columns, rows)


def _rich(table: report.Table, title: str) -> RichTable:
    drawn = RichTable(title=_plain(title), title_justify="left", box=SIMPLE_HEAD)
    for at, column in enumerate(table.columns):
        drawn.add_column(_plain(column), justify="right" if at else "left")
    for row in table.rows:
        drawn.add_row(*(_plain(cell) for cell in row))
    return drawn


def _plain(text: str) -> str:
    """Without the document's marks."""
    return text.replace("`", "").replace("**", "")
