"""What a measurement says: figures, some of them promised, and the lines of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `at_most`, `at_least`: what was promised of it; None: nothing."""

    name: str
    value: float
    unit: str
    #: The same of the floor, measured in the same run; None: there is none.
    floor: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        too_much = self.at_most is not None and self.value > self.at_most
        too_little = self.at_least is not None and self.value < self.at_least
        return not (too_much or too_little)

    def row(self) -> str:
        """Return a line of a Markdown table."""
        floor = "" if self.floor is None else f"{self.floor:,.3g} {self.unit}"
        ratio = "" if not self.floor else f"{self.value / self.floor:,.1f}"
        promise = "" if self.at_most is None else f"at most {self.at_most:g}"
        promise = promise if self.at_least is None else f"at least {self.at_least:g}"
        verdict = "" if not promise else "yes" if self.kept else "**no**"
        return f"| {self.name} | {self.value:,.3g} {self.unit} | {floor} | {ratio} | {promise} | {verdict} |"


@dataclass
class Section:
    """The figures of one measurement, and what it was of."""

    title: str
    about: str
    figures: list[Figure] = field(default_factory=list)
    #: Further tables and sentences.
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the section of docs/performance.md."""
        head = "| | Mailmirror | floor | ratio | promised | kept |\n|---|---|---|---|---|---|"
        table = "\n".join([head, *(figure.row() for figure in self.figures)])
        return "\n\n".join([f"## {self.title}", self.about, table, *self.notes])


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
