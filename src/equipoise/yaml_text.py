"""Reading YAML: text, numbers, lists and mappings alone, with every failure told by its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml


class NotYaml(ValueError):
    """A text is not YAML.

    Attributes:
        problem: What is wrong with it.
        line: Where, counted from 1; None where that is not known.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem, self.line = problem, line


def parse_yaml(text: str, *, words: bool = False) -> object:
    r"""Return what a YAML text says.

    Args:
        text: The text.
        words: Whether every scalar stays the text that is written, so that a class called ``no`` or ``01`` is one.

    Raises:
        NotYaml: It is not YAML, states a key twice, or asks for anything but plain values.

    Example:
        >>> parse_yaml("a: [01, no]"), parse_yaml("a: [01, no]", words=True)
        ({'a': [1, False]}, {'a': ['01', 'no']})
        >>> parse_yaml("a: 1\na: 2")
        Traceback (most recent call last):
        equipoise.yaml_text.NotYaml: line 2: key 'a' is stated twice
    """
    import yaml

    try:
        loader = (yaml.BaseLoader if words else yaml.SafeLoader)(text)
        try:
            node = loader.get_single_node()
            _check_keys(node, set())
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except NotYaml:
        raise
    except yaml.MarkedYAMLError as error:
        problem = error.problem or error.context or "it cannot be parsed"
        if "'\\t'" in problem:
            problem = "a tab stands where blanks are expected"
        raise NotYaml(problem, error.problem_mark.line + 1 if error.problem_mark else None) from error
    except yaml.YAMLError as error:  # a character that no YAML may hold
        raise NotYaml(str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise NotYaml("it is nested too deeply") from error
    except ValueError as error:  # what looks like a date and is none
        raise NotYaml(str(error)) from error


def _check_keys(node: yaml.Node | None, seen: set[int]) -> None:
    """Refuse a key that is stated twice, of which the parser would silently take the last; ``seen`` are ids of nodes."""
    import yaml

    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return
    seen.add(id(node))
    if not isinstance(node, yaml.MappingNode):
        for item in node.value:
            _check_keys(item, seen)
        return
    keys: set[str] = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in keys:
                raise NotYaml(f"key {key.value!r} is stated twice", key.start_mark.line + 1)
            keys.add(key.value)
        _check_keys(value, seen)
