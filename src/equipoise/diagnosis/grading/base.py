"""What a grading is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from numpy.typing import NDArray
from torch import Tensor

from equipoise.evaluation.metrics import task_metrics
from equipoise.tasks import Task


@dataclass(frozen=True)
class Terms:
    """The words in which a diagnosis of a task is told.

    Attributes:
        task: One of :data:`~equipoise.data.schema.TASKS`.
        one: What is predicted, such as ``class``.
        a: The same with an article.
        many: Several of them.
        key: Name of the score in files.
        score: What models are compared by.
        scores: Several of them.
        guess: Whose score is that of chance.
        far: An uninformative modality is at most this share of the way from chance to 1.
        holds: How a sentence about the entropy of targets begins; empty for numbers.
        probe: What kind of linear model a probe is.
        loss: The loss, as the head of a column.
        unit: What the loss is in.
        gives: What the decision layer gives.
        constant: The best answer that does not look at the sample.
        right: What is said of the samples that a modality decided.
        shares: Whether that is a share of what is right.
        ability: What is said of a modality's own output class by class, label by label or number by number.
        main: The main metric of the task, by its name in files.
    """

    task: str
    one: str
    a: str
    many: str
    key: str
    score: str
    scores: str
    guess: str
    far: float
    holds: str
    probe: str
    loss: str
    unit: str
    gives: str
    constant: str
    right: str
    shares: bool
    ability: str
    main: str

    def count(self, number: int) -> str:
        """Return a number of what is predicted in words."""
        return f"{number} {self.one if number == 1 else self.many}"


class Told(NamedTuple):
    """What an output tells about the target.

    Attributes:
        values: What it tells about each sample, in nats, of shape (samples,).
        temperature: Temperature by which it was scaled.
        raw: Mean of what it claims to tell without scaling.
    """

    values: Tensor
    temperature: float
    raw: float


class Choices(NamedTuple):
    """Predictions as choices among several, whose confidence can be compared with how often they are right.

    Attributes:
        probabilities: Of shape (choices, alternatives).
        target: Codes of what is true, of shape (choices,).
        sample: Which sample each choice belongs to, of shape (choices,); None where each is a sample.
        brier: The Brier score as the metrics of the task have it.
    """

    probabilities: Tensor
    target: Tensor
    sample: Tensor | None
    brier: float


class Grading(ABC):
    """How predictions of a task are judged when a trained model is looked at.

    What a model *says* is of shape (..., samples, outputs), see :meth:`read`; what it *decides* is that turned into an answer
    that can be right or wrong, see :meth:`decide`. A score is a mean, in the sense of :meth:`mean`, of the values that samples
    give to it: it is linear in them, so that contributions of modalities are means of contributions sample by sample, and
    intervals come from resamples. Values are of shape (..., samples), with an axis of outputs behind where each counts by itself.

    Args:
        task: The task.
        names: The classes, the labels, or the names of the numbers.
        train: Targets of the training samples.
    """

    terms: ClassVar[Terms]

    def __init__(self, task: Task, names: tuple[str, ...], train: Tensor) -> None:
        self.task, self.names, self.train = task, names, train

    @staticmethod
    @abstractmethod
    def read(logits: Tensor) -> Tensor:
        """Return what logits say, float64 on the CPU."""

    @property
    @abstractmethod
    def nothing(self) -> Tensor:
        """What is said where nothing is known, float64 of shape (outputs,)."""

    @abstractmethod
    def check(self, target: Tensor) -> str:
        """Return what makes it impossible to judge by some targets, empty where nothing does."""

    def notes(self, target: Tensor) -> list[str]:
        """Return what a reader must know about judging by some targets."""
        return []

    @abstractmethod
    def chance(self, target: Tensor) -> float:
        """Return the score of knowing nothing about the samples with some targets."""

    @abstractmethod
    def decide(self, said: Tensor) -> Tensor:
        """Return the answer to which something said amounts."""

    @abstractmethod
    def values(self, decided: Tensor, target: Tensor) -> Tensor:
        """Return what each sample gives to the score, float64."""

    def guessed(self, said: Tensor, target: Tensor) -> Tensor:
        """Return :meth:`values` of something said, with those of a guess where it is nothing."""
        return self.values(self.decide(said), target)

    @staticmethod
    @abstractmethod
    def mean(values: Tensor, target: Tensor, counts: Tensor | None = None) -> Tensor:
        """Return scores, linear in the values.

        Args:
            values: Values of shape (variables, samples) or (variables, samples, outputs).
            target: Targets of the samples, those by which the values were found.
            counts: How often each sample counts, of shape (resamples, samples); once by default.

        Returns:
            Scores of shape (variables,), or (resamples, variables) where counts are given; nan where they are not defined.
        """

    @abstractmethod
    def losses(self, said: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each sample, of shape (..., samples), without weights of classes."""

    @abstractmethod
    def constant_loss(self, target: Tensor) -> float:
        """Return the mean loss of the best answer that is the same for all samples."""

    @abstractmethod
    def agreement(self, said: Tensor, decided: Tensor) -> Tensor:
        """Return the score in [0, 1] (as :meth:`equipoise.tasks.base.Task.score`) that something said gives to an answer."""

    @abstractmethod
    def right(self, decided: Tensor, target: Tensor) -> Tensor:
        """Return how right the answer to each sample is, in the sense of ``terms.right``, of shape (samples,)."""

    @abstractmethod
    def disagreement(self, own: Tensor, present: Tensor) -> Tensor:
        """Return how much modalities disagree about each sample, in nats, of shape (samples,).

        Args:
            own: What each says by itself, of shape (modalities, samples, outputs).
            present: Which sample has which modality, booleans of shape (modalities, samples).
        """

    @abstractmethod
    def probe(self, features: NDArray[Any], target: Tensor, new: NDArray[Any]) -> Tensor:
        """Decide about samples by a new linear model on frozen features.

        Args:
            features: Features of the training samples, of shape (samples, width).
            target: Their targets.
            new: Features of the samples to decide about.

        Returns:
            Answers as :meth:`decide` gives them.
        """

    @abstractmethod
    def also(self, decided: Tensor, target: Tensor) -> dict[str, list[float]]:
        """Return other metrics of several answers to the same samples, by the names of the metrics."""

    def main(self, said: Tensor, target: Tensor) -> Tensor:
        """Return the main metric of the task of several predictions, of shape (predictions,)."""
        return said.new_tensor([item[self.task.main_metric] for item in self.task.metrics(said, target)])

    def metrics(self, said: Tensor, target: Tensor) -> dict[str, float | None]:
        """Return all metrics of one prediction."""
        return task_metrics(self.task.name, self.predicted(said).numpy(), target.numpy())

    def counts(self, target: Tensor) -> dict[str, int]:
        """Return how many samples are of each class or have each label; empty for numbers."""
        return {}

    def ranges(self, target: Tensor) -> dict[str, dict[str, float]]:
        """Return ``mean``, standard ``deviation``, ``least`` and ``most`` of each number; empty for classes and labels."""
        return {}

    @abstractmethod
    def predicted(self, said: Tensor) -> Tensor:
        """Return probabilities, or numbers in their own units, of the shape of what is said."""

    @abstractmethod
    def rows(self, said: Tensor, target: Tensor) -> list[dict[str, Any]]:
        """Return how good a prediction is class by class, label by label, or number by number."""

    def confusion(self, decided: Tensor, target: Tensor) -> list[list[int]]:
        """Return how often each class is taken for each other one; empty where there are no classes."""
        return []

    @abstractmethod
    def text(self, decided: Tensor) -> str:
        """Return the answer to one sample in words."""

    @abstractmethod
    def truth(self, target: Tensor) -> str:
        """Return the target of one sample in words."""

    def confidence(self, said: Tensor) -> Tensor | None:
        """Return how sure each answer is of itself, in [0, 1]; None for a task whose predictions do not say."""
        return self.task.confidence(said)

    def centred(self, terms: Tensor) -> Tensor:
        """Return contributions to the logits without what makes no difference to the prediction."""
        return terms

    @abstractmethod
    def ability(self, said: Tensor, target: Tensor) -> dict[str, float | None]:
        """Return how good a prediction is at each class, label or number."""

    def lengths(self, terms: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return how much modalities say about each class, label or number.

        Args:
            terms: Contributions to the logits, of shape (modalities, samples, outputs).
            target: Targets of the samples.

        Returns:
            Lengths of shape (modalities, some samples) by name.
        """
        return {name: terms[:, :, number].abs() for number, name in enumerate(self.names)}

    def told(self, said: Tensor, target: Tensor) -> Told | None:
        """Return what an output tells about each sample in nats; None where the loss is no code length."""
        return None

    @abstractmethod
    def neighbours(self, said: Tensor, target: Tensor) -> float:
        """Return a nearest-neighbour estimate of the information between an output and the target, in nats.

        Raises:
            DataError: There are too few samples.
        """

    @abstractmethod
    def coordinates(self, said: Tensor) -> NDArray[Any]:
        """Return what is said in coordinates of mean 0 and variance 1, of shape (samples, dimensions)."""

    def codes(self, first: Tensor, second: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor, Tensor, int]]:
        """Return answers of two outputs and the truth as codes, one item for each question, with how many codes there are."""
        return []

    def choices(self, said: Tensor, target: Tensor) -> Choices | None:
        """Return a prediction as choices; None where it is none."""
        return None

    def numbers(self, said: Tensor) -> Tensor | None:
        """Return predicted numbers in their own units, of shape (samples, outputs); None where predictions are no numbers."""
        return None
