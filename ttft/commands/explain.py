"""`ttft select --explain`: a strategy's selection next to what nearest neighbours would have selected from the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ttft.commands.console import plain
from ttft.commands.texts import first_line, sparkline
from ttft.records import Document, Prompt, Selection

if TYPE_CHECKING:
    from ttft.selection.redundancy import Redundancy
    from ttft.tuner.results import ChosenTexts
    from ttft.tuner.selector import Selector


@dataclass(frozen=True)
class Side:
    """One of the two selections."""

    name: str
    selection: Selection
    documents: list[Document]
    redundancy: Redundancy

    def to_json(self) -> dict:
        texts = len({d.text for d in self.documents})
        known = {"ids": self.selection.ids, "cosines": self.selection.cosines, "sigma": self.selection.sigma}
        return known | {"distinct_texts": texts} | self.redundancy.to_json()


def sides(selector: Selector, prompt: Prompt, chosen: ChosenTexts) -> tuple[Side, Side]:
    """The given selection, and equally many nearest neighbours with the same lambda."""
    lambda_ = chosen.selection.parameters["lambda_"]
    query = prompt.text if chosen.rewrite is None else tuple(chosen.rewrite.queries)
    nearest = selector.nearest(prompt.id, query, len(chosen.ids), lambda_)
    return _side(selector, chosen.selection), _side(selector, nearest)


def _side(selector: Selector, selection: Selection) -> Side:
    from ttft.selection.redundancy import redundancy

    vectors = selector.index.vectors(selection.ids)
    return Side(selection.strategy, selection, selector.documents(selection), redundancy(vectors, selection.ids))


def show(prompt: Prompt, both: tuple[Side, Side]) -> None:
    """Print two columns of texts, and below them the redundancy and uncertainty curve of each selection."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(
        title=plain(f"{prompt.id}: {first_line(prompt.text)}"), title_justify="left", expand=True, box=box.SIMPLE
    )
    table.add_column("", justify="right", no_wrap=True)
    for side in both:
        table.add_column("cos", justify="right", no_wrap=True)
        table.add_column(side.name, no_wrap=True, overflow="ellipsis", ratio=1)
    for rank in range(max(len(side.documents) for side in both)):
        cells = [str(rank + 1)]
        for side in both:
            cells += _cells(side, rank)
        table.add_row(*map(plain, cells))
    console.print(table)
    console.print(_figures(both))


def _cells(side: Side, rank: int) -> list[str]:
    if rank >= len(side.documents):
        return ["", ""]
    before = side.selection.ids[:rank]
    again = f"(= {before.index(side.selection.ids[rank]) + 1}) " if side.selection.ids[rank] in before else ""
    return [f"{side.selection.cosines[rank]:.2f}", again + first_line(side.documents[rank].text)]


def _figures(both: tuple[Side, Side]) -> Any:
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
