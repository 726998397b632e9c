"""What a student learns from the softened predictions of a teacher."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from equipoise.errors import ConfigError, DataError


def distillation_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 2.0) -> Tensor:
    """Return the divergence of a student's softened predictions from a teacher's, per sample.

    ``T^2 KL(softmax(teacher / T) || softmax(student / T))``, summed over classes. The factor keeps gradients of one size over
    temperatures. The source writes the cross-entropy with soft targets: the same gradient, a value larger by ``T^2`` times the
    entropy of the softened teacher. No gradient reaches the teacher.

    Args:
        student_logits: Logits of shape (samples, classes).
        teacher_logits: Logits of the same shape.
        temperature: ``T``; above 1 it brings out how the teacher ranks the wrong classes.

    Returns:
        Losses of shape (samples,), in nats times ``T^2``; 0 where both agree. Their mean is what is usually minimised.

    Raises:
        DataError: If the shapes differ or are not (samples, classes).
        ConfigError: If the temperature is not positive.

    References:
        Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015, arXiv 1503.02531.

    Example:
        >>> import torch
        >>> distillation_loss(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [9.0, 0.0]]), temperature=1.0)
        tensor([0.0000, 0.6919])
    """
    if student_logits.dim() != 2 or student_logits.shape != teacher_logits.shape:
        raise DataError(
            f"logits of shapes {tuple(student_logits.shape)} (student) and {tuple(teacher_logits.shape)} (teacher) were given, "
            "expected (samples, classes) for both"
        )
    if not temperature > 0:
        raise ConfigError(f"the temperature is {temperature}, expected a positive number")
    student = F.log_softmax(student_logits / temperature, 1)
    teacher = F.log_softmax(teacher_logits.detach() / temperature, 1)
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(1) * temperature**2
