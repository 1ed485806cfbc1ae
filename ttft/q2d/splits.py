"""Splits in which nothing is on two sides: records that share a question or a conversation stay together."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from ttft.errors import ConfigError

SHARES: Mapping[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def split(keys: Sequence[Collection[str]], shares: Mapping[str, float] = SHARES, *, seed: int = 0) -> list[str]:
    """The split of each record, by the names of `shares`. keys: what each record must not share with another split.

    Records with a common key, directly or through others, form a group. Groups are put in the order of a hash of the
    seed and their smallest key, and each goes to the split that is furthest below its share; so the result depends on
    the seed and the keys only, not on the order of the records. Raises ConfigError unless the shares are positive.
    """
    if not shares or min(shares.values()) <= 0:
        raise ConfigError(f"the shares of the splits are {dict(shares)}", "give every split a share above 0")
    groups = _groups(keys)
    total = sum(shares.values())
    wanted = {name: share / total * len(keys) for name, share in shares.items()}
    filled = dict.fromkeys(shares, 0)
    found = [""] * len(keys)
    for smallest in sorted(groups, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest()):
        members = groups[smallest]
        name = max(shares, key=lambda name: (wanted[name] - filled[name]) / wanted[name])
        filled[name] += len(members)
        for place in members:
            found[place] = name
    return found


def _groups(keys: Sequence[Collection[str]]) -> dict[str, list[int]]:
    """Smallest key of a group -> its records. A record without a key is a group of its own."""
    parent: dict[str, str] = {}

    def top(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    named = [list(own) or [f"\0{place}"] for place, own in enumerate(keys)]
    for own in named:
        for key in own[1:]:
            one, other = sorted((top(own[0]), top(key)))
            parent[other] = one  # the smallest key stays at the top
    groups: dict[str, list[int]] = defaultdict(list)
    for place, own in enumerate(named):
        groups[top(own[0])].append(place)
    return groups
