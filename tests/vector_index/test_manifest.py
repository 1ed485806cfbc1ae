"""The manifest: it comes back, and what is damaged, of another version or not there is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ttft.errors import ConfigError, MissingArtifact, TtftError
from ttft.run_dir import MANIFEST, sealed
from ttft.vector_index.manifest import SCHEMA, new_manifest, read_manifest, write_manifest


def said(caught: pytest.ExceptionInfo) -> str:
    return f"{caught.value.message} {caught.value.hint}"


def write_text(folder: Path, value: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(value if isinstance(value, str) else json.dumps(value))


def test_a_manifest_comes_back(tmp_path: Path) -> None:
    manifest = new_manifest({"name": "e"}, precision="float16", dedup="count", part=None, factory="auto")
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == sealed(manifest)


def test_a_changed_value_is_noticed(tmp_path: Path) -> None:
    manifest = new_manifest({"name": "e"}, precision="float16", dedup="count", part=None, factory="auto")
    write_manifest(tmp_path, manifest)
    path = tmp_path / MANIFEST
    path.write_text(path.read_text().replace("float16", "float32"))
    with pytest.raises(MissingArtifact, match="damaged"):
        read_manifest(tmp_path)


def test_no_index_names_those_beside_it_or_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingArtifact) as caught:
        read_manifest(tmp_path / "none")
    assert "is not an index" in said(caught) and "ttft index SOURCE" in said(caught)
    write_text(tmp_path / "code", {})
    with pytest.raises(MissingArtifact) as caught:
        read_manifest(tmp_path / "none")
    assert "code" in said(caught)
    with pytest.raises(MissingArtifact):
        read_manifest(tmp_path / "no" / "such" / "folder")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null"])
def test_a_damaged_manifest_is_an_error_for_people(tmp_path: Path, text: str) -> None:
    write_text(tmp_path, text)
    with pytest.raises(TtftError) as caught:
        read_manifest(tmp_path)
    assert MANIFEST in said(caught)


@pytest.mark.parametrize("manifest", [{}, {"schema": 0}, {"schema": SCHEMA + 1}])
def test_an_index_of_another_schema_is_refused(tmp_path: Path, manifest: dict) -> None:
    write_text(tmp_path, manifest)
    with pytest.raises(ConfigError, match=f"this ttft reads {SCHEMA}"):
        read_manifest(tmp_path)
