"""One of n jobs that share the work of a command: "3/8" does items 3, 11, 19, ... of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Job:
    """Job `number` of `total`, from 1 to total."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse "i/n". Raises ValueError."""
        numbers = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
        if numbers is None or not 1 <= int(numbers[1]) <= int(numbers[2]):
            raise ValueError("expected i/n, job i of n with i from 1 to n, such as 3/8")
        return cls(int(numbers[1]), int(numbers[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def of(self, items: Iterable[Item]) -> Iterator[Item]:
        """Items number i, i+n, i+2n, ..., in order: every item belongs to exactly one of the n jobs."""
        return islice(items, self.number - 1, None, self.total)


JobText = Annotated[str, AfterValidator(lambda text: str(Job.parse(text)))]
"""The type of the option --job: "i/n", validated and in canonical form."""
