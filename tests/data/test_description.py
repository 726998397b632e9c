from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.config import ReadOptions
from equipoise.data.description import Stated, describe_source
from equipoise.errors import DataError

ALL = tuple(Stated.__dataclass_fields__)


def describe(folder: Path, text: str, **options: object) -> object:
    (folder / "dataset.yaml").write_text(text)
    return describe_source(folder, ReadOptions(**options), ALL)  # type: ignore[arg-type]


def test_options_win_over_the_file(tmp_path: Path) -> None:
    stated = describe_source(tmp_path, ReadOptions(target="t"), ALL)
    assert (stated.target, stated.id, stated.modalities) == ("t", None, None)
    (tmp_path / "dataset.yaml").write_text(
        "name: n\nid: i\ntarget: u\nclasses: [b, 1]\nmodalities: {a: {prefix: a_}, b: [x, y]}\n"
    )
    stated = describe_source(tmp_path, ReadOptions(target="t"), ALL)
    assert (stated.name, stated.id, stated.target, stated.classes) == ("n", "i", "t", ("b", "1"))
    assert stated.modalities == {"a": Stated(prefix="a_"), "b": Stated(columns=("x", "y"))}
    stated = describe_source(tmp_path, ReadOptions(modalities={"c": {"columns": [1, 2]}}), ALL)
    assert stated.modalities == {"c": Stated(columns=("1", "2"))}


def test_description_beside_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    (tmp_path / "t.dataset.yaml").write_text("name: beside\n")
    (tmp_path / "dataset.yaml").write_text("name: folder\n")
    assert describe_source(tmp_path / "t.csv", ReadOptions(), ALL).name == "beside"
    assert describe_source(tmp_path / "u.csv", ReadOptions(), ALL).name == "folder"
    (tmp_path / "labels.csv").touch()
    assert describe_source(tmp_path / "u.csv", ReadOptions(), ALL).name is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tagret: x", "unknown key 'tagret', did you mean 'target'"),
        ("[1, 2]", "expected a mapping with any of name, id"),
        ("id: [a, b]", "id: expected one name"),
        ("classes: a", "classes: expected a list of names"),
        ("classes: [a, a]", "classes: 'a' is listed twice"),
        ("modalities: [a]", "modalities: expected a mapping from modality names"),
        ("modalities: {a: x}", "modalities: a: expected a mapping"),
        ("modalities: {a: {prefx: x}}", "modalities: a: unknown key 'prefx', did you mean 'prefix'"),
        ("modalities: {a: {kind: picture}}", "modalities: a: kind 'picture' is unknown"),
        ("modalities: {a: {prefix: x, columns: [y]}}", "states both a prefix and columns"),
    ],
)
def test_mistakes_name_the_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        describe(tmp_path, text)
    assert "dataset.yaml" in str(error.value)


def test_keys_of_another_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="modalities: a: 'file' does not apply to data of this layout"):
        describe_source(None, ReadOptions(modalities={"a": {"file": "x"}}), ("key", "kind"))
    with pytest.raises(DataError, match="a: options say how media files are decoded, and data of this layout hold none"):
        describe_source(None, ReadOptions(modalities={"a": {"options": {"size": 8}}}), ("key", "kind"))


@pytest.mark.parametrize("file", ["../other/a.npy", "/other/a.npy", "b/../../a.npy"])
def test_a_file_outside_of_the_folder_is_stated_by_an_option_alone(tmp_path: Path, file: str) -> None:
    with pytest.raises(DataError, match=r"dataset\.yaml: modality 'a': file '.*' leads out of .*stated by the option modalities"):
        describe(tmp_path, f"modalities: {{a: {{file: {file}}}}}\n")
    stated = describe_source(tmp_path, ReadOptions(modalities={"a": {"file": file}}), ALL)
    assert stated.modalities == {"a": Stated(file=file)}
    describe(tmp_path, "modalities: {a: {file: b/../a.npy}}\n")


def test_a_description_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").mkdir()
    with pytest.raises(DataError, match=r"dataset\.yaml is a folder, expected YAML"):
        describe_source(tmp_path, ReadOptions(), ALL)
