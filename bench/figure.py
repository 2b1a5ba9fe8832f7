"""One line of a benchmark's table, and the table."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `good`: whether `value` reaches `target`."""

    what: str
    value: float
    unit: str
    target: str
    good: bool
    ours: str
    theirs: str


def at_most(what: str, value: float, unit: str, limit: float, ours: str, theirs: str = "no peer") -> Figure:
    """A figure that must not be above its limit."""
    return Figure(what, value, unit, f"<= {limit:g}", value <= limit, ours, theirs)


def at_least(what: str, value: float, unit: str, limit: float, ours: str, theirs: str = "no peer") -> Figure:
    """A figure that must not be below its limit."""
    return Figure(what, value, unit, f">= {limit:g}", value >= limit, ours, theirs)


def table_of(name: str, measure: Callable[[], Sequence[Figure]]) -> None:
    """One benchmark as a command: `python -m bench.NAME [--json]`."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    show(measure(), as_json=options.json)


def show(figures: Sequence[Figure], *, as_json: bool) -> None:
    """Print the table, for people or for programs."""
    if as_json:
        print(json.dumps([asdict(figure) for figure in figures]))
        return
    for figure in figures:
        verdict = "ok" if figure.good else "MISS"
        print(f"{verdict:4} {figure.what:<52} {figure.value:10.2f} {figure.unit:<5} (target {figure.target})")
        print(f"     {figure.ours}; {figure.theirs}")
