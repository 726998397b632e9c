"""Every test here that asks for ``name`` runs once for each registered method, whoever registered it.

Those on training and persistence also run for some combinations of methods.
"""

from __future__ import annotations

import pytest

from equipoise.methods.base import METHODS

COMBINATIONS = ("joint_unimodal+ogm", "modality_dropout+mmpareto", "ogm+relearning")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        more = () if metafunc.module.__name__.endswith("test_description") else COMBINATIONS
        metafunc.parametrize("name", [*METHODS.names(), *more])
