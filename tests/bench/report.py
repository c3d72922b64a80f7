"""The figures as tables for a person and as one JSON object for a program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure
from tests.bench.ledger import COUNTED

COMMAND = "make bench"
WIDTH = 150
"""Columns where the output is no terminal."""


def show(console: Console, host: Mapping[str, str], figures: Sequence[Figure], seconds: float) -> None:
    """Print everything, and last what is over its budget."""
    console.print(f"[bold]{COMMAND}[/bold], {seconds:.0f} s")
    for name, value in host.items():
        console.print(f"  {name:<12} {value}", markup=False, highlight=False)
    for section, group in groupby(figures, lambda figure: figure.section):
        rows = list(group)
        console.print()
        console.print(_compared(section, rows) if rows[0].naive is not None else _table(section, rows))
    console.print(f"\n{COUNTED}\n", markup=False)
    for figure in figures:
        if not figure.ok:
            colour, kind = (
                ("red", "OVER BUDGET") if figure.exact else ("yellow", "over budget, a timing: a warning only")
            )
            console.print(
                f"[{colour}]{kind}[/{colour}]: {figure.section}: {figure.name} {_value(figure)} > {_number(figure.budget)}"
            )
    if all(figure.ok for figure in figures if figure.exact):
        console.print("[green]Every exact count keeps its budget.[/green]")


def as_json(host: Mapping[str, str], figures: Sequence[Figure], seconds: float) -> str:
    """One object; ``ok`` is about exact counts alone."""
    return json.dumps(
        {
            "ok": all(figure.ok for figure in figures if figure.exact),
            "command": COMMAND,
            "seconds": round(seconds, 1),
            "machine": dict(host),
            "counted": COUNTED,
            "figures": [
                {name: value for name, value in asdict(figure).items() if value not in (None, "")} | {"ok": figure.ok}
                for figure in figures
            ],
        }
    )


def _table(section: str, rows: Sequence[Figure]) -> Table:
    spreads = any(figure.low is not None for figure in rows)
    table = _framed(section, "measured", *(["p10 to p90"] if spreads else []), "budget", "")
    for figure in rows:
        spread = "" if figure.low is None else f"{_number(figure.low)} to {_number(figure.high)}"
        budget = "" if figure.budget is None else f"<= {_number(figure.budget)}"
        table.add_row(
            figure.name, _value(figure), *([spread] if spreads else []), budget, _verdict(figure), figure.note
        )
    return table


def _compared(section: str, rows: Sequence[Figure]) -> Table:
    table = _framed(section, "Brainstem", "naive", "ratio")
    for figure in rows:
        naive = figure.naive or 0.0
        table.add_row(
            figure.name,
            _value(figure),
            f"{_number(naive, figure.exact)} {figure.unit}".strip(),
            f"{naive / figure.value:.1f} x" if figure.value else "",
            figure.note,
        )
    return table


def _framed(section: str, *columns: str) -> Table:
    table = Table(
        title=section, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    table.add_column("", min_width=40)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", style="dim")
    return table


def _verdict(figure: Figure) -> str:
    if figure.budget is None:
        return ""
    if figure.ok:
        return "[green]ok[/green]"
    return "[red]OVER[/red]" if figure.exact else "[yellow]over[/yellow]"


def _value(figure: Figure) -> str:
    return f"{_number(figure.value, figure.exact)} {figure.unit}".strip()


def _number(value: float | None, exact: bool = False) -> str:
    """Counts to four places, timings to three digits."""
    if value is None:
        return ""
    if exact or value == int(value):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
