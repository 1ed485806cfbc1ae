"""Sources of text in memory: strings, records (mappings), or a Dataset of the datasets library.

The readers in sources.py accept an `InMemory` in place of a path. Positions are given as "texts:17", "records:17" or,
for a Dataset, "NAME:17" or "dataset:17", counted from 0.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttft.corpus.problems import Problems
from ttft.errors import CorpusError

ACCEPTED = "a source is a path, the name of a dataset, a list of strings, an iterable of mappings, or a Dataset"


@dataclass(frozen=True)
class InMemory:
    """Texts or records that can be read repeatedly.

    name   name of the source in an index's manifest: "texts", "records" or "dataset NAME"
    items  strings and mappings, in order
    """

    name: str
    items: Iterable[Any]

    def records(self, text_field: str, problems: Problems) -> Iterator[tuple[str, dict]]:
        """(place, record) of each item, like the lines of a file; a string becomes the text of a record."""
        prefix = self.name.split()[-1]
        for number, item in enumerate(self.items):
            if isinstance(item, str):
                yield f"{prefix}:{number}", {text_field: item}
            elif isinstance(item, Mapping):
                yield f"{prefix}:{number}", dict(item)
            else:
                problems.add("neither text nor record", f"{prefix}:{number}", type(item).__name__)


def as_source(source: Any) -> str | InMemory:
    """The caller's source in the form the readers take: a path or name as a string, anything else as an InMemory.

    Iterables other than lists, tuples and Datasets are read into a list first, since a source is read more than once.
    Raises CorpusError for anything that cannot be a source.
    """
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, InMemory):
        return source
    if _is_dataset(source):
        name = source.info.dataset_name or source.info.builder_name
        return InMemory(f"dataset {name}" if name else "dataset", source)
    if isinstance(source, Mapping):
        splits = ", ".join(map(str, list(source)[:5]))
        raise CorpusError(
            f"a {type(source).__name__} is not a source", f"give one of its values ({splits}), or a list of records"
        )
    if isinstance(source, bytes | bytearray) or not isinstance(source, Iterable):
        raise CorpusError(f"a {type(source).__name__} is not a source", ACCEPTED)
    items = source if isinstance(source, list | tuple) else list(source)
    if not items:
        raise CorpusError(f"the {type(source).__name__} of texts is empty", ACCEPTED)
    return InMemory("texts" if isinstance(items[0], str) else "records", items)


def _is_dataset(source: Any) -> bool:
    """A caller that has a Dataset has already imported the library; importing it here just to check would be slow."""
    datasets = sys.modules.get("datasets")
    return datasets is not None and isinstance(source, datasets.Dataset | datasets.IterableDataset)
