"""Options: declared once, checked everywhere, the same however they were written."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from equipoise.config import (
    SECTIONS,
    FitConfig,
    TrainingOptions,
    build,
    check_fields,
    component,
    option,
    option_sections,
)
from equipoise.errors import ConfigError

OPTIONS = [(section, item) for section in SECTIONS.values() for item in dataclasses.fields(section)]


def test_names_are_unique_over_all_sections() -> None:
    names = [item.name for _, item in OPTIONS]
    assert len(names) == len(set(names)) == len(option_sections())
    assert "method" not in names
    assert all(option_sections()[item.name] == key for key, section in SECTIONS.items() for item in dataclasses.fields(section))


@pytest.mark.parametrize(("section", "item"), OPTIONS, ids=lambda value: getattr(value, "name", ""))
def test_every_option_has_help_and_a_valid_default(section: type, item: dataclasses.Field[Any]) -> None:
    assert len(item.metadata["help"]) > 5
    instance = section()
    check_fields(instance, "option")
    if type(item.default) in (int, float):
        assert any(item.metadata[key] is not None for key in ("low", "above"))


def test_settings_survive_json() -> None:
    config = FitConfig.from_options(
        {
            "method": {"name": "ogm", "alpha": 0.5},
            "epochs": 5,
            "learning_rate": 1,
            "encoder": {"name": "mlp", "hidden": 3},
            "clip": None,
        }
    )
    assert config.training.epochs == 5
    assert type(config.training.learning_rate) is float
    assert config.preprocessing.clip is None
    assert FitConfig.from_options(json.loads(json.dumps(config.to_options()))) == config
    assert FitConfig.from_options(FitConfig().to_options()) == FitConfig()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epoch": 3}, "unknown option 'epoch', did you mean 'epochs'"),
        ({"epochs": 0}, "epochs = 0 is out of range, expected at least 1"),
        ({"epochs": 1.5}, "epochs = 1.5 is not valid, expected a whole number"),
        ({"epochs": True}, "epochs = True is not valid, expected a whole number"),
        ({"epochs": "many"}, "epochs = 'many' is not valid, expected a whole number"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0 is out of range, expected more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate = nan is not a number"),
        ({"momentum": 1.0}, "momentum = 1.0 is out of range, expected less than 1"),
        ({"step_factor": 1.5}, "step_factor = 1.5 is out of range, expected at most 1"),
        ({"optimizer": "adam"}, "optimizer = 'adam' is not valid, did you mean 'adamw'"),
        ({"compile": 1}, "compile = 1 is not valid, expected true or false"),
        ({"patience": 0}, "patience = 0 is out of range, expected at least 1"),
        ({"patience": "soon"}, "patience = 'soon' is not valid, expected a whole number or none"),
        ({"test_fraction": 1.0}, "test_fraction = 1.0 is out of range"),
        ({"method": 3}, "method: expected a name or a mapping with a name, found 3"),
        ({"method": {"alpha": 1}}, "method: expected a name or a mapping with a name"),
        ({"encoder": 3}, "encoder = 3 is not valid, expected a word or a mapping or none"),
    ],
)
def test_what_is_not_valid_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FitConfig.from_options(options)


def test_words_become_what_they_stand_for() -> None:
    written = build(TrainingOptions, {"epochs": "7", "learning_rate": "1e-2", "patience": "none", "compile": "true"}, "option")
    assert written == TrainingOptions(epochs=7, learning_rate=1e-2, patience=None, compile=True)


@dataclasses.dataclass
class Own:
    """Options of every shape."""

    sizes: tuple[int, ...] = option((1, 2), help="a list of sizes")
    share: float = option(0.5, low=0.0, high=1.0, help="a share")
    table: dict[str, Any] = option({"a": 1}, help="a mapping")
    hidden: int = 3


def test_lists_become_tuples_and_defaults_are_not_shared() -> None:
    own = build(Own, {"sizes": [3, 4], "share": 1}, "own")
    assert own == Own(sizes=(3, 4), share=1.0)
    assert type(own.share) is float
    own.table["b"] = 2
    assert Own().table == {"a": 1}
    with pytest.raises(ConfigError, match=r"own: sizes = \(1, 'x'\) is not valid, expected a list of a whole number"):
        build(Own, {"sizes": [1, "x"]}, "own")
    with pytest.raises(ConfigError, match="unknown option 'hidden'"):
        build(Own, {"hidden": 3}, "own")


def test_components_have_a_full_form() -> None:
    assert component("ogm", "method") == {"name": "ogm"}
    given = {"name": "ogm", "alpha": 1}
    assert component(given, "method") == given
    assert component(given, "method") is not given
