"""`ttft select --explain`: what the strategy took, beside what nearest neighbour would have taken of the same pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttft.records import Document, Prompt, Selection

if TYPE_CHECKING:
    from ttft.commands.selecting import Selector
    from ttft.selection.redundancy import Redundancy

BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Side:
    """One of the two choices."""

    name: str
    selection: Selection
    documents: list[Document]
    redundancy: Redundancy

    def to_json(self) -> dict:
        texts = len({d.text for d in self.documents})
        known = {"ids": self.selection.ids, "cosines": self.selection.cosines, "sigma": self.selection.sigma}
        return known | {"distinct_texts": texts} | self.redundancy.to_json()


def sides(selector: Selector, prompt: Prompt, selection: Selection) -> tuple[Side, Side]:
    """The given choice, and the nearest neighbours: as many, under the same lambda."""
    nearest = selector.nearest(prompt.id, prompt.text, len(selection.ids), selection.parameters["lambda_"])
    return _side(selector, selection), _side(selector, nearest)


def _side(selector: Selector, selection: Selection) -> Side:
    from ttft.selection.redundancy import redundancy

    vectors = selector.index.vectors(selection.ids)
    return Side(
        selection.strategy, selection, selector.index.documents(selection.ids), redundancy(vectors, selection.ids)
    )


def show(prompt: Prompt, both: tuple[Side, Side]) -> None:
    """Two columns of texts, and below them the redundancy and the uncertainty curve of each."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ttft.commands.select import first_line

    console = Console(highlight=False)
    table = Table(
        title=Text(f"{prompt.id}: {first_line(prompt.text)}"), title_justify="left", expand=True, box=box.SIMPLE
    )
    table.add_column("", justify="right", no_wrap=True)
    for side in both:
        table.add_column("cos", justify="right", no_wrap=True)
        table.add_column(side.name, no_wrap=True, overflow="ellipsis", ratio=1)
    for rank in range(max(len(side.documents) for side in both)):
        cells = [str(rank + 1)]
        for side in both:
            cells += _cells(side, rank, first_line)
        table.add_row(*map(Text, cells))
    console.print(table)
    console.print(_figures(both))


def _cells(side: Side, rank: int, first_line) -> list[str]:  # type: ignore[no-untyped-def]
    if rank >= len(side.documents):
        return ["", ""]
    before = side.selection.ids[:rank]
    again = f"(= {before.index(side.selection.ids[rank]) + 1}) " if side.selection.ids[rank] in before else ""
    return [f"{side.selection.cosines[rank]:.2f}", again + first_line(side.documents[rank].text)]


def _figures(both: tuple[Side, Side]):  # type: ignore[no-untyped-def]
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    table.add_column("")
    for side in both:
        table.add_column(side.name, justify="right")
    lowest = min(min(side.selection.sigma) for side in both)
    rows = {
        "picks": [str(len(s.documents)) for s in both],
        "distinct texts": [str(len({d.text for d in s.documents})) for s in both],
        "taken again": [str(s.redundancy.repeats) for s in both],
        "copies": [str(s.redundancy.copies) for s in both],
        "near copies": [str(s.redundancy.near) for s in both],
        "mean pairwise cosine": [f"{s.redundancy.mean_cosine:.3f}" for s in both],
        "sigma": [f"{s.selection.sigma[0]:.3f} - {s.selection.sigma[-1]:.3f}" for s in both],
        "sigma curve": [sparkline(s.selection.sigma, lowest) for s in both],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def sparkline(values: list[float], low: float, width: int = 24) -> str:
    """A falling curve in block characters, from its first value down to `low`; a long one is thinned to `width`."""
    thinned = values[:: max(1, -(-len(values) // width))]
    height = values[0] - low
    return "".join(BLOCKS[round((v - low) / height * (len(BLOCKS) - 1))] if height > 0 else BLOCKS[-1] for v in thinned)
