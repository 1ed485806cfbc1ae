"""Sources of text that are in memory: strings, records (mappings), or a Dataset of the library datasets.

An `InMemory` is what the readers in sources.py take in place of a path. Places are "texts:17", "records:17" and, of a
Dataset, "NAME:17" or "dataset:17", from 0.
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
    """Texts or records that can be read again and again.

    name   how the manifest of an index calls the source: "texts", "records" or "dataset NAME"
    items  strings and mappings, in their order
    """

    name: str
    items: Iterable[Any]

    def records(self, text_field: str, problems: Problems) -> Iterator[tuple[str, dict]]:
        """(place, record) of each item, as of the lines of a file; a string is the record's text."""
        prefix = self.name.split()[-1]
        for number, item in enumerate(self.items):
            if isinstance(item, str):
                yield f"{prefix}:{number}", {text_field: item}
            elif isinstance(item, Mapping):
                yield f"{prefix}:{number}", dict(item)
            else:
                problems.add("neither text nor record", f"{prefix}:{number}", type(item).__name__)


def as_source(source: Any) -> str | InMemory:
    """What the readers take for a source of the caller's: a path or name as a string, anything else as InMemory.

    Iterables that are neither lists, tuples nor Datasets are read into a list, since a source is read more than once.
    Raises CorpusError for what is no source.
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
            f"a {type(source).__name__} is no source", f"give one of its values ({splits}), or a list of records"
        )
    if isinstance(source, bytes | bytearray) or not isinstance(source, Iterable):
        raise CorpusError(f"a {type(source).__name__} is no source", ACCEPTED)
    items = source if isinstance(source, list | tuple) else list(source)
    if not items:
        raise CorpusError(f"the {type(source).__name__} of texts is empty", ACCEPTED)
    return InMemory("texts" if isinstance(items[0], str) else "records", items)


def _is_dataset(source: Any) -> bool:
    """Whoever has a Dataset has imported the library, which is slow to import only to ask."""
    datasets = sys.modules.get("datasets")
    return datasets is not None and isinstance(source, datasets.Dataset | datasets.IterableDataset)
