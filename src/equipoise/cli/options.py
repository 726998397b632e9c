"""Options of the command line, made from their declarations in :mod:`equipoise.config`."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equipoise.config import SECTIONS, component
from equipoise.errors import ConfigError, suggest
from equipoise.files import os_errors
from equipoise.yaml_text import NotYaml, parse_yaml

COMPONENTS = ("method", "encoder", "fusion", "graph", "modalities", "augment", "text")
"""Options that have options of their own: ``--method.alpha 0.5``, ``--encoder.image.width 32``."""

_TITLES = {
    "read": "data",
    "splitting": "split",
    "preprocessing": "preprocessing",
    "model": "model",
    "training": "training",
}


def add_options(parser: argparse.ArgumentParser, sections: Sequence[str]) -> None:
    """Add the options of some sections to a parser, which remembers their names for :func:`gather`."""
    names = [item.name for section in sections for item in dataclasses.fields(SECTIONS[section])]
    parser.set_defaults(options=[*names, *(["method"] if "training" in sections else [])])
    for section in sections:
        group = parser.add_argument_group(_TITLES[section])
        for item in dataclasses.fields(SECTIONS[section]):
            default = None if item.default is dataclasses.MISSING else item.default
            choices = item.metadata["choices"]
            words = f" ({', '.join(choices)})" if choices else ""
            shown = "" if default is None else f" [{str(default).lower() if isinstance(default, bool) else default}]"
            group.add_argument(
                f"--{item.name.replace('_', '-')}",
                dest=item.name,
                metavar="VALUE",
                default=argparse.SUPPRESS,
                help=(item.metadata["help"] + words + shown).replace("%", "%%"),
            )


def separate(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Set the options of components apart from those that the parser knows.

    The parser would take the value of an option that it does not know for DATA. Names of the other options may be written
    with underscores as well, as they are in Python and YAML.

    Args:
        words: The command line.

    Returns:
        The words for the parser, and the options of components with their values.

    Example:
        >>> separate(["fit", "--method.alpha", "0.5", "data", "--batch_size=8"])
        (['fit', 'data', '--batch-size=8'], ['--method.alpha', '0.5'])
    """
    plain, apart, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            plain.append(word)
        elif "." not in name:
            plain.append(f"{name.replace('_', '-')}{equals}{value}")
        else:
            apart.append(word)
            if not equals and rest and not rest[0].startswith("--"):
                apart.append(rest.pop(0))
    return plain, apart


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        ConfigError: It is missing, not YAML, or not a mapping of options.
    """
    try:
        with os_errors("read the configuration file", path, ConfigError):
            value = parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the configuration file is not UTF-8 (byte 0x{error.object[error.start]:02x})") from error
    except NotYaml as error:
        place = "" if error.line is None else f", line {error.line}"
        raise ConfigError(f"{path}{place}: this is not YAML ({error.problem})") from error
    if value is None:  # an empty file states no options
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{path}: expected a mapping of options, found {type(value).__name__}")
    return value


def dotted(words: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
    """Turn the words that the parser did not know into options of components.

    Args:
        words: ``["--method.alpha", "0.5", "--encoder.image=cnn"]``.
        known: Names of the options that the command has.

    Returns:
        Nested options: ``{"method": {"alpha": "0.5"}, "encoder": {"image": "cnn"}}``.

    Raises:
        ConfigError: A word is no option, or an option has no value.

    Example:
        >>> dotted(["--method.alpha", "0.5"], ["method"])
        {'method': {'alpha': '0.5'}}
    """
    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            raise ConfigError(f"unexpected word {word!r}")
        first, *path = name[2:].split(".")
        if first not in COMPONENTS or first not in known or not all(path) or not path:
            options = [f"--{item.replace('_', '-')}" for item in known] or ["--help"]
            raise ConfigError(f"unknown option {name!r}, {suggest(name, options)}")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"option {name} needs a value")
            value = rest.pop(0)
        place = found.setdefault(first, {})
        for key in path[:-1]:
            inner = place.setdefault(key, {})
            place[key] = place = {"name": inner} if isinstance(inner, str) else inner
        known_value = place.get(path[-1])
        if isinstance(known_value, dict):
            known_value["name"] = value
        else:
            place[path[-1]] = value
    return found


def merge(base: Any, over: Any) -> Any:
    """Lay one component description over another; naming another component drops the options of the first.

    Example:
        >>> merge({"name": "ogm", "alpha": 0.3}, {"alpha": 0.5})
        {'name': 'ogm', 'alpha': 0.5}
        >>> merge({"name": "ogm", "alpha": 0.3}, "joint")
        {'name': 'joint'}
    """
    base = {"name": base} if isinstance(base, str) else base
    over = {"name": over} if isinstance(over, str) else over
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    if "name" in over and "name" in base and over["name"] != base["name"]:
        base = {key: value for key, value in base.items() if isinstance(value, dict)}
    return {**base, **{key: merge(base[key], value) if isinstance(base.get(key), dict) else value for key, value in over.items()}}


def gather(arguments: argparse.Namespace, unknown: Sequence[str]) -> dict[str, Any]:
    """Return the options of a command: those of the configuration file, with those of the command line over them.

    Args:
        arguments: What the parser understood.
        unknown: What it did not.

    Returns:
        Option names and values, as :meth:`equipoise.config.FitConfig.from_options` takes them.

    Raises:
        ConfigError: An option is unknown, has no value, or the configuration file cannot be read.
    """
    names: list[str] = getattr(arguments, "options", [])
    config = getattr(arguments, "config", None)
    options = read_yaml(Path(config)) if config else {}
    for name in options:
        if name not in [*names, "data", "out"]:
            raise ConfigError(f"{config}: unknown option {name!r}, {suggest(name, names)}")
    stated = {name: value for name, value in vars(arguments).items() if name in names and value is not None}
    for name in ("modalities", "target"):
        value = stated.get(name)
        if isinstance(value, str) and (name == "modalities" or value.startswith("[")):
            try:
                stated[name] = parse_yaml(value)
            except NotYaml as error:
                raise ConfigError(f"option {name}: {value!r} is not YAML ({error.problem})") from error
    for name, value in dotted(unknown, names).items():
        # --encoder.image cnn beside --encoder mlp; --method.alpha beside --method ogm
        stated[name] = merge(stated[name], value) if name in stated else value
    for name, value in stated.items():
        options[name] = merge(options.get(name), value) if name in COMPONENTS and name in options else value
    for owner in ("method", "fusion"):
        value = options.get(owner)
        if isinstance(value, dict) and "name" not in value:
            words = ", ".join(map(repr, value)) or "nothing"
            raise ConfigError(f"{owner}: found options ({words}) but no name, expected --{owner} NAME (in YAML: name: NAME)")
        if value is not None:
            options[owner] = component(value, owner)
    return options
