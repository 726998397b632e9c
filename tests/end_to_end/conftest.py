"""Data and finished runs that several tests look at; none of them changes a file of these."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.harness import QUICK, done, write_folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder; a third of its samples lack one modality."""
    return write_folder(tmp_path_factory.mktemp("data") / "study")


@pytest.fixture(scope="session")
def finished(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on that folder, by a method that logs coefficients."""
    run = tmp_path_factory.mktemp("runs") / "ogm"
    done("fit", study, "--method", "ogm", *QUICK, "--out", run)
    return run
