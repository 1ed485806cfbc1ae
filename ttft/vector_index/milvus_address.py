"""Which Milvus an index may lead to: that of the user, or a file in its own folder.

A manifest from elsewhere can name any server and any file. The token in MILVUS_TOKEN is the user's, and opening a
Milvus file writes to it. So a token is sent only to an address that the user gave, and a file outside the index folder
is opened only if the user named it: by `uri` (--uri) in the same call, or in the environment variable MILVUS_URI. A
server that needs no token is asked without that, after a note, since it sees the vectors of the prompts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ttft.errors import ConfigError
from ttft.vector_index.manifest import Search

TOKEN, ADDRESS = "MILVUS_TOKEN", "MILVUS_URI"
EMBEDDED = ".db"
SERVER = ("http://", "https://")


def address(folder: Path, stated: str, given: str | None) -> tuple[str, str]:
    """(path or URL to connect to, token to send) for the address that a manifest states.

    given  the address that the user gave in this call; default: MILVUS_URI
    Raises ConfigError for an address that the user has to confirm first, or that is none.
    """
    given = given or os.environ.get(ADDRESS)
    if stated.endswith(EMBEDDED):
        return _file(folder, stated, given), ""
    if not stated.startswith(SERVER) or "@" in stated:
        raise ConfigError(f"{folder} is searched by Milvus at {stated!r}, which is no address", "build the index again")
    token = os.environ.get(TOKEN, "")
    if token and not _same(stated, given):
        raise ConfigError(
            f"{folder} is searched by Milvus at {stated}, and {TOKEN} is set: it would be sent there",
            f"to send it, set {ADDRESS}={stated}; to connect without it, unset {TOKEN}",
        )
    return stated, token


def _file(folder: Path, stated: str, given: str | None) -> str:
    home = folder.resolve()
    path = (home / stated).resolve()
    if not path.is_relative_to(home) and (given is None or Path(given).resolve() != path):
        raise ConfigError(
            f"{folder} is searched by a Milvus file outside of that folder: {path}",
            f"opening it may change it; if it is yours, set {ADDRESS}={path}",
        )
    for inside in path.rglob("*"):
        if inside.is_symlink():
            raise ConfigError(f"{inside} is a symbolic link, and nothing is written through links", "remove it")
    return str(path)


def _same(stated: str, given: str | None) -> bool:
    return given is not None and given.rstrip("/") == stated.rstrip("/")


def remarks(folder: Path, search: Search) -> list[str]:
    """A sentence for the user if queries are sent to a server that only the manifest names."""
    stated = search.uri or ""
    if search.store != "milvus" or not stated.startswith(SERVER) or _same(stated, os.environ.get(ADDRESS)):
        return []
    return [
        f"the vectors of the prompts are sent to the Milvus server {stated}, which {folder} names (set {ADDRESS} to "
        "the same address to confirm it)"
    ]


@contextlib.contextmanager
def address_unset() -> Iterator[None]:
    """Without MILVUS_URI, for the import of pymilvus, which fails where that is a file."""
    named = os.environ.pop(ADDRESS, None)
    try:
        yield
    finally:
        if named is not None:
            os.environ[ADDRESS] = named
