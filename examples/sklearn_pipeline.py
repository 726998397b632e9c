"""A classifier of several modalities inside scikit-learn: ``python examples/sklearn_pipeline.py``."""

from __future__ import annotations

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer

from equipoise import BalancedClassifier

MODALITIES = {
    "juice": ["alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium"],
    "phenols": ["total_phenols", "flavanoids", "nonflavanoid_phenols", "proanthocyanins"],
    "light": ["color_intensity", "hue", "od280/od315_of_diluted_wines"],
}


def main(epochs: int = 30) -> GridSearchCV:
    """Choose the method that keeps three groups of measurements in balance; every fourth wine lacks the phenols."""
    X, y = load_wine(return_X_y=True, as_frame=True)
    X.loc[np.arange(len(X)) % 4 == 0, MODALITIES["phenols"]] = np.nan
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    # each group of columns goes its own way and keeps its name, by which the classifier knows its modality
    prepare = ColumnTransformer(
        [
            ("juice", PowerTransformer(), MODALITIES["juice"]),
            ("phenols", "passthrough", MODALITIES["phenols"]),
            ("light", PowerTransformer(), MODALITIES["light"]),
        ],
    ).set_output(transform="pandas")
    classifier = BalancedClassifier(
        modalities={name: f"{name}__" for name in MODALITIES}, epochs=epochs, learning_rate=0.01, random_state=0
    )
    choices = {"balancedclassifier__method": ["joint", "ogm", {"name": "ogm", "alpha": 0.8}]}
    search = GridSearchCV(make_pipeline(prepare, classifier), choices, cv=3).fit(X_train, y_train)
    print(f"chosen: {search.best_params_['balancedclassifier__method']}")
    print(f"accuracy on {len(X_test)} test samples: {search.score(X_test, y_test):.3f}")
    best = search.best_estimator_
    own = best[-1].predict_proba_by_modality(best[:-1].transform(X_test))
    for name, probabilities in own.items():
        has = ~np.isnan(probabilities).any(axis=1)
        right = best.classes_[probabilities[has].argmax(axis=1)] == y_test[has]
        print(f"{name} alone, inside the model: {right.mean():.3f} on {has.sum()} samples that have it")
    return search


if __name__ == "__main__":
    main()
