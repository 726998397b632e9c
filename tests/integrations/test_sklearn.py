"""The estimators in the hands of scikit-learn: pipelines, searches, cross-validation, pickle."""

from __future__ import annotations

import inspect
import pickle
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import equipoise
from equipoise import BalancedClassifier, BalancedRegressor
from equipoise.config import FitConfig, option_sections
from equipoise.errors import ConfigError, DataError
from tests.conftest import ROOT

QUICK: dict[str, Any] = {"epochs": 4, "learning_rate": 0.02, "device": "cpu", "random_state": 0}
GROUPS: dict[str, Any] = {"audio": [0, 1, 2], "image": slice(3, 5)}


def samples(count: int = 120, classes: int = 3, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Classes that show in columns 0 and 3; column 5 belongs to no modality."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    X = rng.normal(size=(count, 6))
    X[:, [0, 3]] += 3 * y[:, None]
    return X, y


def frame(X: NDArray[np.float64]) -> pd.DataFrame:
    return pd.DataFrame(X[:, :5], columns=["audio_a", "audio_b", "audio_c", "image_a", "image_b"])


def classifier(**options: Any) -> BalancedClassifier:
    return BalancedClassifier(**{"modalities": GROUPS, **QUICK, **options})


def test_defaults_are_those_of_the_options() -> None:
    known = FitConfig().to_options()
    for kind in (BalancedClassifier, BalancedRegressor):
        own = {name: item.default for name, item in inspect.signature(kind.__init__).parameters.items()}
        shared = own.keys() & option_sections().keys()
        assert len(shared) > 8
        assert {name: own[name] for name in shared} == {name: known[name] for name in shared}


def test_names_give_the_same_as_numbers() -> None:
    X, y = samples()
    expected = classifier().fit(X, y)
    assert expected.modalities_ == {"audio": [0, 1, 2], "image": [3, 4]}
    assert (expected.n_features_in_, expected.score(X, y) > 0.8, expected.n_iter_) == (6, True, 4)
    for groups in (None, {"audio": "audio_", "image": ["image_a", "image_b"]}):
        found = classifier(modalities=groups).fit(frame(X), y)
        assert found.modalities_ == expected.modalities_
        assert list(found.feature_names_in_) == list(frame(X))
        np.testing.assert_allclose(found.predict_proba(frame(X)), expected.predict_proba(X), rtol=1e-6)


def test_predictions_do_not_depend_on_the_samples_beside() -> None:
    X, y = samples()
    found = classifier().fit(X, y)
    single = np.concatenate([found.predict_proba(X[row : row + 1]) for row in range(20)])
    np.testing.assert_allclose(found.predict_proba(X[:20]), single, atol=1e-6)


def test_one_modality_without_names_or_prefixes() -> None:
    X, y = samples()
    assert classifier(modalities=None).fit(X, y).modalities_ == {"all": [0, 1, 2, 3, 4, 5]}
    named = pd.DataFrame(X, columns=["age", "mass", "height", "dose", "time", "rate"])
    assert list(classifier(modalities=None).fit(named, y).modalities_) == ["all"]


def test_words_are_classes_and_come_back() -> None:
    X, y = samples()
    words = np.array(["low", "high", "middle"], dtype=object)[y]
    found = classifier().fit(X, words)
    assert list(found.classes_) == ["high", "low", "middle"]
    assert list(found.run_.predictor.schema.classes) == ["high", "low", "middle"]
    assert set(found.predict(X)) == set(words)
    assert found.score(X, words) > 0.8


def test_columns_of_words_in_a_table() -> None:
    X, y = samples(classes=2)
    table = frame(X).assign(image_c=np.where(y > 0, "red", "blue"))
    found = classifier(modalities=None).fit(table, y)
    assert found.run_.predictor.schema["image"].categorical == ("image_c",)
    assert found.score(table, y) > 0.9


def test_all_samples_are_for_training() -> None:
    X, y = samples()
    run = classifier(validation_fraction=0.25).fit(X, y).run_
    assert run.summary["samples"] == {"train": 90, "validation": 30, "test": 0}
    assert run.metrics == {}
    assert len(run.log) == 4


def test_groups_are_on_one_side() -> None:
    X, y = samples()
    groups = np.arange(len(y)) // 10
    split = classifier().fit(X, y, groups=groups).run_.config["split"]
    assert not set(groups[split["train"]]) & set(groups[split["validation"]])
    with pytest.raises(DataError, match="groups has 2 values, expected one for each of the 120 samples"):
        classifier().fit(X, y, groups=[1, 2])


def test_random_state_decides() -> None:
    X, y = samples()

    def trained(state: Any) -> NDArray[np.floating]:
        return classifier(random_state=state, epochs=2).fit(X, y).predict_proba(X)

    assert np.array_equal(trained(3), trained(3))
    assert np.array_equal(trained(np.random.RandomState(3)), trained(np.random.RandomState(3)))
    assert not np.array_equal(trained(3), trained(4))
    assert not np.array_equal(trained(None), trained(None))


def test_missing_modalities() -> None:
    X, y = samples()
    X[::4, :3] = np.nan
    X[1::4, 4] = np.nan
    found = classifier().fit(X, y)
    assert found.score(X, y) > 0.6
    own = found.predict_proba_by_modality(X)
    assert list(own) == ["audio", "image"]
    assert np.array_equal(np.isnan(own["audio"]).all(1), np.arange(len(y)) % 4 == 0)
    assert np.isfinite(own["image"]).all()
    assert np.isfinite(found.predict_proba(X)).all()
    X[0] = np.nan
    with pytest.raises(DataError, match="1 sample has no modality at all"):
        found.predict(X)


def test_a_mapping_of_arrays() -> None:
    X, y = samples()
    arrays = {"picture": X[:, :4].reshape(-1, 2, 2), "age": X[:, 3], "age_present": np.arange(len(y)) % 5 > 0}
    found = classifier(modalities=None).fit(arrays, y)
    assert found.run_.predictor.schema.names == ("picture", "age")
    assert not hasattr(found, "n_features_in_")
    assert found.score(arrays, y) > 0.6
    assert found.predict({"picture": arrays["picture"][:7]}).shape == (7,)
    with pytest.raises(DataError, match="fitted to a mapping of arrays"):
        found.predict(X)
    with pytest.raises(ConfigError, match="X is a mapping, whose keys are the modalities"):
        classifier().fit(arrays, y)
    assert found.fit(X, y).n_features_in_ == 6


def test_imbalanced_classes() -> None:
    rng = np.random.default_rng(0)
    y = np.where(np.arange(300) < 15, "ill", "well")
    X = rng.normal(size=(300, 4)) + np.where(y == "ill", 0.8, 0.0)[:, None]
    rare = {}
    for weights in ("none", "balanced"):
        found = classifier(modalities={"a": [0, 1], "b": [2, 3]}, class_weights=weights, options={"monitor": "loss"}).fit(X, y)
        rare[weights] = (found.predict(X[:15]) == "ill").mean()
    assert rare["balanced"] > rare["none"] + 0.3
    X, y = samples(31)
    y[30] = 7
    assert 30 in classifier().fit(X, y).run_.config["split"]["train"]  # a class of one sample is trained on


def test_clone_has_the_arguments_alone() -> None:
    X, y = samples()
    found = classifier(method={"name": "ogm", "alpha": 0.5}, options={"clip": 5.0}).fit(X, y)
    again = clone(found)
    assert again.get_params() == found.get_params()
    with pytest.raises(NotFittedError):
        again.predict(X)
    assert again.set_params(method="joint", epochs=1).fit(X, y).run_.summary["method"]["name"] == "joint"
    assert found.run_.config["options"]["method"]["alpha"] == 0.5
    assert found.run_.config["options"]["clip"] == 5.0


@pytest.mark.parametrize(
    "options", [{}, {"fusion": "gated"}, {"method": "reconboost"}, {"encoder": "gcn"}, {"method": "unimodal"}]
)
def test_pickle_holds_the_model_without_its_modules(options: dict[str, Any]) -> None:
    X, y = samples()
    found = classifier(**options).fit(X, y)
    content = pickle.dumps(found)
    assert b"torch" not in content.replace(b'"torch":', b"")  # the summary says which version it was
    again = pickle.loads(content)
    assert np.array_equal(again.predict_proba(X), found.predict_proba(X))
    assert (again.run_.summary, list(again.run_.log)) == (found.run_.summary, list(found.run_.log))
    assert again.run_.folder is None
    assert pickle.loads(pickle.dumps(again)).score(X, y) == found.score(X, y)


def test_a_saved_run_predicts_without_the_estimator(tmp_path: Path) -> None:
    X, y = samples()
    found = classifier().fit(X, y)
    saved = found.run_.save(tmp_path / "run")
    assert saved.folder == tmp_path / "run"
    run = equipoise.load(saved.folder)
    values = found.to_modalities(X)
    assert np.array_equal(run.predict(values).probabilities, found.predict_proba(X))
    metrics = run.evaluate(values, target=y, coalitions="all")
    assert metrics["fused"]["accuracy"] == pytest.approx(found.score(X, y))
    assert metrics["[audio]"]["samples"] == len(y)
    with pytest.raises(DataError, match="trained without a test part"):
        equipoise.diagnose(run, values, target=y)


def test_pipelines() -> None:
    X, y = samples()
    assert make_pipeline(StandardScaler(), classifier()).fit(X, y).score(X, y) > 0.8
    columns = ColumnTransformer(
        [("audio", StandardScaler(), ["audio_a", "audio_b", "audio_c"]), ("image", "passthrough", ["image_a", "image_b"])]
    ).set_output(transform="pandas")
    pipeline = make_pipeline(columns, classifier(modalities=None)).fit(frame(X), y)
    assert list(pipeline[-1].modalities_) == ["audio", "image"]
    assert pipeline.score(frame(X), y) > 0.8


def test_search_and_cross_validation() -> None:
    X, y = samples()
    grid = {"method": ["joint", {"name": "ogm", "alpha": 0.5}], "learning_rate": [1e-6, 0.02]}
    search = GridSearchCV(classifier(epochs=3), grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_params_["learning_rate"] == 0.02
    assert search.predict_proba(X).shape == (120, 3)
    groups = np.arange(len(y)) // 10
    scores = cross_val_score(
        classifier(), frame(X), y, groups=groups, cv=GroupKFold(3), params={"groups": groups}, scoring="roc_auc_ovr"
    )
    assert scores.min() > 0.8


@pytest.mark.slow
def test_other_processes() -> None:
    X, y = samples()
    found = cross_validate(classifier(), X, y, cv=2, n_jobs=2, return_estimator=True, error_score="raise")
    assert [item.score(X, y) > 0.8 for item in found["estimator"]] == [True, True]


def test_a_regressor() -> None:
    X, _ = samples(200)
    y = X[:, 0] + 10 * X[:, 3]
    options = {**QUICK, "modalities": GROUPS, "epochs": 30}
    found = BalancedRegressor("ogm", **options).fit(X, y)
    assert found.score(X, y) > 0.8
    assert found.predict(X).shape == (200,)
    assert np.array_equal(pickle.loads(pickle.dumps(found)).predict(X), found.predict(X))
    several = BalancedRegressor(**options).fit(X, np.stack([y, -y], axis=1))
    assert several.predict(X).shape == (200, 2)
    own = several.predict_by_modality(np.where(np.arange(6) < 3, np.nan, X))
    assert np.isnan(own["audio"]).all()
    assert own["image"].shape == (200, 2)
    assert several.run_.evaluate(several.to_modalities(X), target=np.stack([y, -y], axis=1))["fused"]["r2"] > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"modalities": {"audio": ["audio_q"], "image": "image_"}},
            "'audio': column 'audio_q' does not exist, did you mean 'audio_",
        ),
        ({"modalities": {"audio": "audio", "image": ["audio_c"]}}, "column 'audio_c' belongs to both 'audio' and 'image'"),
        ({"modalities": {"audio": "sound"}}, "'audio': no column begins with 'sound'"),
        ({"modalities": {"fused": "audio"}}, "modality 'fused': the name has a meaning of its own"),
        ({"options": {"clipp": 3.0}}, "options: unknown option 'clipp', did you mean 'clip'"),
        ({"options": {"folds": 3}}, "options: unknown option 'folds'"),
        ({"options": {"epochs": 3}}, "options: 'epochs' is an argument of its own"),
        ({"method": "oogm"}, "unknown method 'oogm', did you mean 'ogm'"),
        ({"epochs": 0}, "epochs = 0 is out of range, expected at least 1"),
        ({"class_weights": "balance"}, "class_weights = 'balance' is not valid, did you mean 'balanced'"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    X, y = samples()
    with pytest.raises(ValueError, match=message):
        classifier(**{"modalities": None, **options}).fit(frame(X), y)


def test_wrong_data_are_refused() -> None:
    X, y = samples()
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(X, X[:, 0])
    with pytest.raises(DataError, match="y has 119 values, expected one for each of the 120 samples of X"):
        classifier().fit(X, y[:-1])
    with pytest.raises(DataError, match="the validation part is empty"):
        classifier().fit(X[:3], y[:3])
    with pytest.raises(ValueError, match="infinity"):
        classifier().fit(np.where(X > 2, np.inf, X), y)
    with pytest.raises(ConfigError, match="cannot tell whose column 'weight' is"):
        classifier(modalities=None).fit(frame(X).assign(weight=1.0), y)
    with pytest.raises(ValueError, match="X has 5 features, but BalancedClassifier is expecting 6"):
        classifier().fit(X, y).predict(X[:, :5])
    with pytest.raises(ConfigError, match="method pmr is for classification"):
        BalancedRegressor("pmr", **QUICK).fit(X, X[:, 0])


def test_example() -> None:
    search = runpy.run_path(str(ROOT / "examples" / "sklearn_pipeline.py"))["main"](epochs=5)
    assert search.best_score_ > 0.8
