"""The errors a user sees: one sentence that names the place, what was found and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EquipoiseError(ValueError):
    """Base of every error that a user's input can cause; the command line prints it without a traceback."""


class DataError(EquipoiseError):
    """Something is wrong with the data: a file, a column, a modality, a label, a split."""


class ConfigError(EquipoiseError):
    """Something is wrong with an option, a hyper-parameter or the name of a component."""


class RunError(EquipoiseError):
    """A run folder cannot be read, written, resumed or used for what was asked."""


def suggest(name: str, options: Iterable[str]) -> str:
    """Return the tail of an "unknown name" sentence: the nearest option, or all of them.

    Args:
        name: What the user wrote.
        options: The names that would have been accepted.

    Returns:
        A text such as ``"did you mean 'ogm'?"`` or ``"choose from: joint, ogm"``.

    Example:
        >>> suggest("omg", ["joint", "ogm"])
        "did you mean 'ogm'?"
    """
    names = sorted(options)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return "choose from: " + (", ".join(names) or "(nothing is available)")


def first_line(error: Exception) -> str:
    r"""Return what an error of another library says, cut to its first line and without a full stop; its class if it says nothing.

    Example:
        >>> first_line(ValueError("no such layer.\nhint: read the manual"))
        'no such layer'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
