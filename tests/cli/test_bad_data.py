"""What bad data get: one sentence that names the place, before anything is trained, and no run folder left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.end_to_end.harness import QUICK, SAMPLES, call, columns, done, labels, write_archive, write_folder, write_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder that a test may spoil."""
    return write_folder(tmp_path / "study")


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Try to train; return the sentence of the refusal."""

    def fit(data: Path, *options: object) -> str:
        run = tmp_path / "run"
        sentence = call("fit", data, *QUICK, *options, "--out", run).error()
        assert not run.exists()
        return sentence.replace(f"{tmp_path}/", "")

    return fit


def change(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite a csv table, all of it as text."""
    edit(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


def cell(row: int, column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """An edit of one cell."""

    def edit(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return edit


def test_data_that_do_not_exist(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused(tmp_path / "nowhere") == "nowhere does not exist"
    assert refused(Path("wisconson")) == "wisconson does not exist; embedded sets: did you mean 'wisconsin'?"


def test_no_labels(folder: Path, refused: Callable[..., str]) -> None:
    (folder / "labels.csv").unlink()
    assert refused(folder) == "study has no labels.csv, .tsv or .parquet, expected one with a label per sample"


def test_missing_file_of_a_modality(folder: Path, refused: Callable[..., str]) -> None:
    modalities = "{blood: {}, genes: {file: gene.parquet}}"
    assert refused(folder, "--modalities", modalities) == (
        "study: modality 'genes' has no file 'gene.parquet', did you mean 'genes.parquet'?"
    )


@pytest.mark.parametrize("option", ["target", "split", "group", "id"])
def test_missing_column(folder: Path, refused: Callable[..., str], option: str) -> None:
    assert refused(folder, f"--{option}", "labell") == f"study/labels.csv has no {option} column 'labell', did you mean 'label'?"


def test_missing_column_of_a_modality(tmp_path: Path, refused: Callable[..., str]) -> None:
    table = write_table(tmp_path / "wide.csv")
    sentence = refused(table, "--modalities", "{blood: [blood_0, blood_9], genes: {prefix: genes_}}")
    assert sentence == "wide.csv: column 'blood_9' of modality 'blood' does not exist, did you mean 'blood_3'?"
    sentence = refused(table, "--modalities", "{blood: {prefix: blod_}}")
    assert "modality 'blood'" in sentence
    assert "'blod_'" in sentence


def test_unknown_modality(folder: Path, refused: Callable[..., str]) -> None:
    sentence = refused(folder, "--modalities", "{blod: {}}")
    assert sentence == "study: modality 'blod' has no file 'blod', did you mean 'blood.csv'?"
    sentence = refused(folder, "--encoder.blod.name", "mlp")
    assert sentence == "encoder: unknown modality 'blod', did you mean 'blood'?"


def test_ids_that_repeat(folder: Path, refused: Callable[..., str]) -> None:
    change(folder / "blood.csv", cell(3, "patient", "p04"))
    assert refused(folder) == "study/blood.csv: column 'patient': id 'p04' repeats, expected one row per sample"


def test_ids_that_match_no_sample(folder: Path, refused: Callable[..., str]) -> None:
    change(folder / "blood.csv", cell(3, "patient", "p77"))
    sentence = refused(folder)
    assert "study/blood.csv" in sentence
    assert "'p77'" in sentence


def test_ids_that_match_nothing(folder: Path, refused: Callable[..., str]) -> None:
    change(folder / "blood.csv", lambda table: table.assign(patient=table["patient"].str.replace("p", "q")))
    sentence = refused(folder)
    assert "study/blood.csv" in sentence
    assert "study/labels.csv" in sentence


def test_rows_without_ids_that_do_not_match(folder: Path, refused: Callable[..., str]) -> None:
    np.save(folder / "scan.npy", np.zeros((SAMPLES - 1, 6, 6)))
    assert refused(folder) == (
        "study/scan.npy has 59 rows and no ids, expected one row for each of the 60 samples of study/labels.csv, "
        "in the same order"
    )


def test_a_class_that_training_lacks(tmp_path: Path, refused: Callable[..., str]) -> None:
    parts = ["test" if label == "c" else part for label, part in zip(labels(), ["train", "train", "test"] * 20, strict=True)]
    parts[0], parts[1] = "test", "validation"
    table = write_table(tmp_path / "wide.csv", split=parts)
    assert refused(table) == "wide: split 'given': class 'c' has no sample in the training part"


def test_one_class_only(tmp_path: Path, refused: Callable[..., str]) -> None:
    table = write_table(tmp_path / "wide.csv")
    change(table, lambda frame: frame.assign(label="a"))
    assert refused(table) == "wide: all samples have the class 'a', expected at least two classes"


def test_a_class_of_too_few_samples(tmp_path: Path, refused: Callable[..., str]) -> None:
    table = write_table(tmp_path / "wide.csv")
    change(table, cell(0, "label", "d"))
    assert refused(table) == "wide: class 'd' has 1 sample, expected at least 3 for a train, a validation and a test part"


@pytest.mark.parametrize("value", ["", "nan", "inf"])
def test_a_target_that_is_missing_or_not_finite(tmp_path: Path, refused: Callable[..., str], value: str) -> None:
    table = write_table(tmp_path / "wide.csv")
    change(table, lambda frame: frame.assign(label=["1", "2", "3"] * 20))
    change(table, cell(4, "label", value))
    assert refused(table) == "wide.csv: column 'label': 1 of 60 samples have no label: '4'; leave these rows out"


def test_a_target_of_real_numbers(tmp_path: Path, refused: Callable[..., str]) -> None:
    table = write_table(tmp_path / "wide.csv")
    change(table, lambda frame: frame.assign(label=[str(number / 7) for number in range(SAMPLES)]))
    sentence = "wide.csv: column 'label' looks like a quantity (60 different numbers), expected classes"
    assert refused(table) == f"{sentence}; to predict numbers state task = regression"


def test_a_modality_that_no_sample_has(folder: Path, refused: Callable[..., str]) -> None:
    change(folder / "blood.csv", lambda table: table.assign(**{name: "" for name in table if name != "patient"}))
    assert refused(folder) == "study: modality 'blood': no sample has it, every value is missing"


def test_a_sample_that_has_no_modality(tmp_path: Path, refused: Callable[..., str]) -> None:
    table = write_table(tmp_path / "wide.csv")

    def empty(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[7, [name for name in frame if name != "label"]] = ""
        return frame

    change(table, empty)
    assert refused(table) == "wide.csv: 1 sample has no modality at all: '7'; to leave them out, set skip_damaged"


def test_text_where_numbers_are_expected(folder: Path, refused: Callable[..., str]) -> None:
    change(folder / "blood.csv", cell(2, "b1", "n.d."))
    assert refused(folder) == (
        "study: modality 'blood': column 'b1' has text where numbers are expected: 'n.d.' for sample 'p57' (1 of 60 values); "
        "leave missing values empty, or state the column as categorical"
    )


def test_infinite_values(folder: Path, refused: Callable[..., str]) -> None:
    change(folder / "blood.csv", cell(2, "b1", "inf"))
    assert refused(folder).startswith("study: modality 'blood': column 'b1' is infinite for sample 'p57'")


def test_a_group_on_both_sides(tmp_path: Path, refused: Callable[..., str]) -> None:
    parts = [part for part in ("train", "validation", "test", "train") for _ in labels(3)] * 5
    table = write_table(tmp_path / "wide.csv", split=parts, video=[f"v{number // 4}" for number in range(SAMPLES)])
    assert refused(table, "--group", "video") == (
        "wide: split 'given': group 'v0', 'v12', 'v3' and 2 more of column 'video' is in both train and validation, expected one"
    )


def test_too_few_groups(tmp_path: Path, refused: Callable[..., str]) -> None:
    table = write_table(tmp_path / "wide.csv", video=[f"v{number % 2}" for number in range(SAMPLES)])
    assert refused(table, "--group", "video") == (
        "wide: found 2 groups, expected at least 3 for a train, a validation and a test part"
    )


def test_a_split_without_a_test_part(tmp_path: Path, refused: Callable[..., str]) -> None:
    table = write_table(tmp_path / "wide.csv", split=["train"] * SAMPLES)
    assert refused(table) == "wide: column 'split' names no labelled test sample"


def test_a_split_of_other_words(tmp_path: Path, refused: Callable[..., str]) -> None:
    table = write_table(tmp_path / "wide.csv", split=["train", "test", "held-out"] * 20)
    assert refused(table) == (
        "wide.csv: column 'split': 'held-out' of sample '2' is no part of a split, expected train, val or test (20 such samples)"
    )


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_a_truncated_csv(folder: Path, refused: Callable[..., str]) -> None:
    text = (folder / "blood.csv").read_text()
    (folder / "blood.csv").write_text(text[: text.rindex(",")] + ',"')
    sentence = refused(folder)
    assert sentence.startswith("study/blood.csv cannot be read as a csv table: ")


def test_a_truncated_parquet(folder: Path, refused: Callable[..., str]) -> None:
    _cut(folder / "genes.parquet")
    assert refused(folder).startswith("study/genes.parquet cannot be read as a parquet table: ")


def test_a_truncated_npy(folder: Path, refused: Callable[..., str]) -> None:
    _cut(folder / "scan.npy")
    assert refused(folder).startswith("study/scan.npy cannot be read as an npy array: ")


def test_a_truncated_npz(tmp_path: Path, refused: Callable[..., str]) -> None:
    assert refused(_cut(write_archive(tmp_path / "arrays.npz"))).startswith("arrays.npz ")


@pytest.mark.parametrize("name", ["labels.csv", "blood.csv", "genes.parquet", "scan.npy"])
def test_an_empty_file(folder: Path, refused: Callable[..., str], name: str) -> None:
    (folder / name).write_bytes(b"")
    assert refused(folder).startswith(f"study/{name} is empty, expected ")


@pytest.mark.parametrize("name", ["blood.csv", "genes.parquet", "scan.npy"])
def test_a_file_that_is_something_else(folder: Path, refused: Callable[..., str], name: str) -> None:
    (folder / name).write_bytes(bytes(range(256)) * 8)
    assert refused(folder).startswith(f"study/{name} ")


def test_a_pickle_is_not_opened(tmp_path: Path, refused: Callable[..., str]) -> None:
    np.savez(tmp_path / "arrays.npz", blood=np.array([{}, []], dtype=object), label=["a", "b"])
    assert refused(tmp_path / "arrays.npz") == (
        "arrays.npz/blood holds pickled Python objects, which could run code; expected an array of numbers or text "
        "(of sequences all time steps in one array NAME, and the length of each in a second, NAME_lengths)"
    )


def test_another_number_of_features_at_prediction(finished: Path, folder: Path, tmp_path: Path) -> None:
    change(folder / "blood.csv", lambda table: table.drop(columns=["b1", "b3"]))
    sentence = call("predict", finished, folder, "--out", tmp_path / "p.csv").error()
    assert sentence == (
        f"{folder}: modality 'blood': column 'b1', 'b3' is missing (2 of the 4 columns that the model was trained on)"
    )
    write_folder(tmp_path / "again")
    np.save(tmp_path / "again" / "scan.npy", np.zeros((SAMPLES, 6, 7)))
    sentence = call("predict", finished, tmp_path / "again", "--out", tmp_path / "p.csv").error()
    assert sentence == f"{tmp_path / 'again'}: modality 'scan' has samples of shape (6, 7), expected (6, 6)"
    assert not (tmp_path / "p.csv").exists()


def test_another_kind_of_column_at_prediction(finished: Path, folder: Path, tmp_path: Path) -> None:
    change(folder / "blood.csv", lambda table: table.assign(b1="high"))
    sentence = call("predict", finished, folder, "--out", tmp_path / "p.csv").error()
    assert sentence.startswith(f"{folder}: modality 'blood': column 'b1' has text where numbers are expected: 'high'")


def test_none_of_the_modalities_at_prediction(finished: Path, tmp_path: Path) -> None:
    columns("x", 3, 1.0, 0).to_csv(tmp_path / "other.csv", index=False)
    sentence = call("predict", finished, tmp_path / "other.csv", "--out", tmp_path / "p.csv").error()
    assert "none of the modalities 'blood', 'genes', 'scan'" in sentence


def test_an_unknown_class_at_evaluation(finished: Path, folder: Path) -> None:
    change(folder / "labels.csv", cell(5, "label", "z"))
    assert call("evaluate", finished, folder).error() == (
        f"{folder}: column 'label': label 'z' of sample 'p05' is none of the classes 'a', 'b', 'c' (1 such samples)"
    )


def test_evaluation_without_labels(finished: Path, folder: Path, tmp_path: Path) -> None:
    change(folder / "labels.csv", lambda table: table[["patient"]])
    assert "label" in call("evaluate", finished, folder).error()
    done("predict", finished, folder, "--out", tmp_path / "p.csv")


def test_parts_and_coalitions_that_do_not_exist(finished: Path, study: Path, folder: Path) -> None:
    sentence = call("evaluate", finished, study, "--part", "tset").error()
    assert sentence == "part = 'tset' is not valid, expected auto, train, validation, test or all"
    assert call("evaluate", finished, study, "--coalitions", "blood+gene").error() == (
        "coalition blood+gene: unknown modality 'gene', did you mean 'genes'?"
    )
    change(folder / "blood.csv", cell(5, "b1", "0.5"))
    sentence = call("evaluate", finished, folder, "--part", "test").error()
    assert sentence == "part = 'test': these are not the data that the run was trained on; expected part = 'all'"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("modalities: [", "cannot be read as YAML"),
        ("targt: label", "unknown key 'targt', did you mean 'target'?"),
        ("modalities: [blood]", "expected a mapping from modality names"),
        ("modalities: {blood: {fiel: blood.csv}}", "did you mean 'file'?"),
        ("modalities: {blood: {kind: tabuler}}", "did you mean 'tabular'?"),
    ],
)
def test_mistakes_in_dataset_yaml(folder: Path, refused: Callable[..., str], content: str, sentence: str) -> None:
    (folder / "dataset.yaml").write_text(content)
    found = refused(folder)
    assert found.startswith("study/dataset.yaml")
    assert sentence in found


def test_data_commands_refuse_alike(tmp_path: Path, folder: Path) -> None:
    assert call("data", "describe", tmp_path / "nowhere").error() == f"{tmp_path / 'nowhere'} does not exist"
    change(folder / "blood.csv", cell(2, "b1", "n.d."))
    assert "'n.d.'" in call("data", "export", folder, tmp_path / "copy").error()
    assert not (tmp_path / "copy").exists()


def test_other_data_than_those_of_the_run(study: Path, tmp_path: Path) -> None:
    """A file that changed while a run was interrupted is noticed."""
    from tests.end_to_end.harness import interrupted_after

    data: Any = write_folder(tmp_path / "study")
    with interrupted_after(1):
        assert call("fit", data, *QUICK, "--out", tmp_path / "run").code == 130
    change(data / "blood.csv", cell(5, "b1", "0.5"))
    assert call("fit", "--resume", tmp_path / "run").error() == (
        f"{data}: the data changed since the run {tmp_path / 'run'} was started; it cannot be resumed with them"
    )
