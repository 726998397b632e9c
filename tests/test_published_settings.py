"""The published training settings in configs/published are valid and make the published encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from equipoise.config import FitConfig
from equipoise.data.layouts import open_layout
from equipoise.nn.multimodal import build_model, describe_encoders
from equipoise.tasks import Classification

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "published"
FILES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_settings(path: Path) -> None:
    config = FitConfig.from_options(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert config.training.patience is None
    assert config.read.layout is not None
    assert open_layout(config.read.layout).tree
    if config.model.encoder is None:  # encoders of the user's own
        assert "encoders={" in path.read_text(encoding="utf-8")
        return
    shapes = {"audio": (1, 64, 48), "video": (3, 3, 32, 32)}
    encoders = describe_encoders(config.model.encoder, dict.fromkeys(shapes, "image"))
    model = build_model(shapes, encoders, {"name": "concat"}, config.model.feature_size, Classification(6), 0)
    features = model.encode({name: torch.randn(2, *shape) for name, shape in shapes.items()})
    assert {value.shape for value in features.values()} == {(2, 512)}


def test_every_file_is_in_the_table() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert FILES
    assert all(f"`{path.name}`" in page for path in FILES)
