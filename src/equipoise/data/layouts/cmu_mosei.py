"""CMU-MOSEI from the computational sequences (csd files, which are HDF5) of its authors."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from equipoise.data.files import reading
from equipoise.data.hdf5 import child, has, opened
from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part
from equipoise.data.sequences import Frames
from equipoise.errors import DataError

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
FOLDS = "cmu_mosei_std_folds.py"
FILES = {
    "text": ("CMU_MOSEI_TimestampedWordVectors.csd", "languages/CMU_MOSEI_TimestampedWordVectors.csd"),
    "audio": ("CMU_MOSEI_COVAREP.csd", "acoustics/CMU_MOSEI_COVAREP.csd"),
    "vision": ("CMU_MOSEI_VisualFacet42.csd", "visuals/CMU_MOSEI_VisualFacet42.csd"),
}
LABELS = ("CMU_MOSEI_Labels.csd", "labels/CMU_MOSEI_Labels.csd")


@LAYOUTS.register("cmu_mosei")
class CMUMOSEI(Layout):
    """Sentences of opinion videos: sequences of word vectors, and of acoustic and facial features averaged over each word."""

    title = "CMU-MOSEI: sentiment and emotions of spoken sentences, text, sound and face"
    reference = "Bagher Zadeh et al., ACL 2018; files of the CMU-MultimodalSDK, its standard folds of videos"
    licence = (
        "not stated by the source for the data; see github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK, whose code is under the MIT "
        "licence and which shares features, not the videos of YouTube"
    )
    tree = f"""\
CMU_MOSEI_Labels.csd                     sentiment and six emotions of each segment of each video
CMU_MOSEI_TimestampedWordVectors.csd     text (csd files may also lie in labels/, languages/, acoustics/ and visuals/)
CMU_MOSEI_COVAREP.csd                    audio
CMU_MOSEI_VisualFacet42.csd              vision
{FOLDS}                   the standard folds as the SDK has them; read as text, never run; without it there is no split"""
    choices = (
        "published: features of sound and face are averaged over each word, and what is not finite counts as 0. A word "
        "belongs to the segment, and a feature to the word, in which its middle lies; where a word has none they are 0. "
        "Groups are videos. Pickles of this set are refused, since they could run code"
    )
    variants: ClassVar = {
        "sentiment2": "negative (below 0) or not (0 and above)",
        "sentiment7": "classes -3 to 3, rounded to the nearest, halves to the even one",
        "sentiment": "the number from -3 to 3, regression",
        "emotions": "six labels, 1 where the intensity is above 0",
    }
    marks = (*LABELS, *(file for files in FILES.values() for file in files))

    def recognises(self, folder: Path) -> bool:
        """Return whether the folder has csd files; pickles instead of them are told from other folders.

        Raises:
            DataError: There are pickles and no csd files.
        """
        known = super().recognises(folder)
        pickles = [] if known else sorted(folder.glob("*.pkl"))
        if pickles:
            raise DataError(
                f"{pickles[0]} is a pickle, which is refused because it could run code; give the csd files (equipoise data "
                "layouts cmu_mosei), or where you trust the pickle write its arrays by numpy.savez(FILE, text=..., audio=..., "
                "vision=..., label=..., split=...), which needs no layout"
            )
        return known

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the sequences; see :class:`~equipoise.data.layouts.base.Layout`."""
        with ExitStack() as stack:
            places = {name: self.find(folder, *names) for name, names in {"labels": LABELS, **FILES}.items()}
            data = {name: _videos(stack.enter_context(opened(path)), path) for name, path in places.items()}
            folds = _folds(folder / FOLDS) if (folder / FOLDS).is_file() else None
            videos = [video for video in data["labels"] if folds is None or video in folds]
            segments = [_segments(data, video) for video in videos]
            left_out = len(data["labels"]) - len(videos)
        if not segments:
            raise DataError(f"{folder}: no video of {places['labels'].name} is in {FOLDS}")
        scores = np.concatenate([item["scores"] for item in segments])
        owner = np.repeat(videos, [len(item["scores"]) for item in segments])
        number = np.concatenate([np.arange(len(item["scores"])) for item in segments])
        table, classes = self._targets(scores)
        table.insert(0, "id", [f"{video}[{place}]" for video, place in zip(owner, number, strict=True)])
        if folds is not None:
            table["split"] = [folds[video] for video in owner.tolist()]
        table["video"] = owner
        frames = {
            name: Frames(
                np.concatenate([item[name] for item in segments]).astype(np.float32),
                np.concatenate([item[f"{name}_steps"] for item in segments]),
            )
            for name in FILES
        }
        return Manifest(
            table=table,
            modalities={name: Part(values=value, kind="sequence", example=FILES[name][0]) for name, value in frames.items()},
            classes=classes,
            class_list=f"{self.variant}: {self.variants[self.variant]}",
            target=EMOTIONS if self.variant == "emotions" else ("label",),
            task={"sentiment": "regression", "emotions": "multilabel"}.get(self.variant, "classification"),
            group="video",
            notes=()
            if folds is None
            else (f"lists: standard folds of {FOLDS}; videos in none of them are left out: {left_out}",),
        )

    def _targets(self, scores: NDArray[np.float64]) -> tuple[Any, tuple[str, ...] | None]:
        """The columns of the variant's targets, and its classes."""
        import pandas as pd

        sentiment = scores[:, 0]
        if self.variant == "emotions":
            return pd.DataFrame((scores[:, 1:] > 0).astype(np.int64), columns=list(EMOTIONS)), None
        if self.variant == "sentiment":
            return pd.DataFrame({"label": sentiment}), None
        if self.variant == "sentiment7":
            rounded = np.clip(np.round(sentiment), -3, 3).astype(np.int64)
            return pd.DataFrame({"label": rounded.astype(str)}), tuple(str(value) for value in range(-3, 4))
        return pd.DataFrame({"label": np.where(sentiment < 0, "negative", "other")}), ("negative", "other")


def _videos(file: Any, path: Path) -> dict[str, Any]:
    """The groups of the videos in a csd file, by their names, without leaving the file."""
    roots = [name for name in file if has(file, f"{name}/data")]
    if len(roots) != 1:
        raise DataError(f"{path} is no computational sequence: expected one group with data in it, found {len(roots)}")
    group = child(file, f"{roots[0]}/data")
    return {str(name): child(group, str(name)) for name in group}


def _rows(videos: Mapping[str, Any], video: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features of shape (rows, width) and their intervals (start, end) in order of time; no rows where a video is not there."""
    if video not in videos:
        width = child(next(iter(videos.values())), "features").shape[1] if videos else 0
        return np.zeros((0, width)), np.zeros((0, 2))
    features, intervals = (np.asarray(child(videos[video], name)[()], dtype=np.float64) for name in ("features", "intervals"))
    if features.ndim != 2 or intervals.shape != (len(features), 2):
        raise DataError(
            f"video {video!r}: features have shape {features.shape} and intervals {intervals.shape}, expected rows of both"
        )
    order = np.argsort(intervals.sum(axis=1), kind="stable")
    return np.where(np.isfinite(features), features, 0.0)[order], intervals[order]


def _segments(data: Mapping[str, Mapping[str, Any]], video: str) -> dict[str, NDArray[Any]]:
    """Scores of the segments of a video and, per modality, the steps of all of them and how many each has."""
    scores, segments = _rows(data["labels"], video)
    if scores.shape[1] != 1 + len(EMOTIONS):
        raise DataError(
            f"labels of video {video!r} have {scores.shape[1]} columns, expected sentiment and {len(EMOTIONS)} emotions"
        )
    text, words = _rows(data["text"], video)
    middle = words.mean(axis=1)
    first, last = np.searchsorted(middle, segments[:, 0]), np.searchsorted(middle, segments[:, 1])
    steps = np.maximum(last - first, 0)
    chosen = np.repeat(first, steps) + np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps)
    found: dict[str, NDArray[Any]] = {"scores": scores, "text": text[chosen], "text_steps": steps}
    for name in ("audio", "vision"):
        features, intervals = _rows(data[name], video)
        found[name] = averaged(features, intervals.mean(axis=1), words[chosen])
        found[f"{name}_steps"] = steps if len(features) else np.zeros_like(steps)
        found[name] = found[name] if len(features) else found[name][:0]
    return found


def averaged(features: NDArray[np.float64], times: NDArray[np.float64], words: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the features at times within each word, 0 where there are none.

    Args:
        features: Of shape (rows, width).
        times: When each row was, ascending, of shape (rows,).
        words: Start and end of each word, of shape (words, 2).

    Returns:
        Means of shape (words, width).

    Example:
        >>> averaged(np.array([[1.0], [3.0], [9.0]]), np.array([0.1, 0.2, 0.7]), np.array([[0.0, 0.5], [1.0, 2.0]])).tolist()
        [[2.0], [0.0]]
    """
    total = np.concatenate([np.zeros((1, features.shape[1])), np.cumsum(features, axis=0)])
    first, last = np.searchsorted(times, words[:, 0]), np.searchsorted(times, words[:, 1])
    count = np.maximum(last - first, 0)[:, None]
    means: NDArray[np.float64] = np.where(count > 0, (total[last] - total[first]) / np.maximum(count, 1), 0.0)
    return means


def _folds(path: Path) -> dict[str, str]:
    """The part of the split of each video, from the lists in a Python file that is parsed and never run."""
    with reading(path, "the standard folds"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lists = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.List)
        }
    names = {"standard_train_fold": "train", "standard_valid_fold": "validation", "standard_test_fold": "test"}
    for name in names:
        if name not in lists:
            raise DataError(f"{path} has no list {name}")
    return {str(video): part for name, part in names.items() for video in lists[name]}
