"""Fusions: how the features of the present modalities become one prediction."""

from equipoise.nn.fusion.base import FUSIONS, AdditiveFusion, Features, Fusion, Present, WeightedFusion, build_fusion

__all__ = ["FUSIONS", "AdditiveFusion", "Features", "Fusion", "Present", "WeightedFusion", "build_fusion"]
