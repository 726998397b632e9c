"""Every test here that asks for ``name`` runs once for each registered method, whoever registered it."""

from __future__ import annotations

import pytest

from equipoise.methods.base import METHODS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", METHODS.names())
