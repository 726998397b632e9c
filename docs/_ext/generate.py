"""Pages made of the software itself before the site is built: methods, command line, options, measurements.

They are written into ``docs/generated``, which git ignores; a page that has not changed is left as it is.
"""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from equipoise import config
from equipoise.cli.main import _parser
from equipoise.cli.options import add_options
from equipoise.data.media.decoders import decoder_class
from equipoise.data.schema import TASKS
from equipoise.methods.base import METHODS, Method, MethodCard

ROOT = Path(__file__).parents[2]
COMPONENTS = (("encoders", config.EncoderOptions), ("the sample graph", config.GraphOptions), ("text", config.TextOptions))
"""Options of options, with the words for their headings."""


def cell(value: object) -> str:
    """Return a value as the text of a table's cell."""
    return str(value).replace("|", "\\|").replace("*", "\\*").replace("\n", " ")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "{.words}\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def bounds(item: dataclasses.Field[Any]) -> str:
    """Return which values an option may have."""
    signs = {"low": "≥", "above": ">", "high": "≤", "below": "<"}
    found = [f"{sign} {item.metadata[key]:g}" for key, sign in signs.items() if item.metadata[key] is not None]
    return ", ".join([*found, *(f"`{word}`" for word in item.metadata["choices"] or ())])


def default(item: dataclasses.Field[Any]) -> str:
    """Return the default of an option."""
    value = None if item.default is dataclasses.MISSING else item.default
    return f"`{str(value).lower() if isinstance(value, bool | None) else value}`"


def option_table(cls: type[Any], prefix: str = "") -> str:
    """Return the options that a dataclass declares."""
    fields = [item for item in dataclasses.fields(cls) if "help" in item.metadata]
    rows = [(f"`{prefix}{item.name}`", default(item), cell(bounds(item)), cell(item.metadata["help"])) for item in fields]
    return table(("option", "default", "values", "meaning"), rows)


def source(card: MethodCard) -> str:
    """Return where a method was published, with a link."""
    place = f"https://arxiv.org/abs/{card.arxiv}" if card.arxiv else card.link
    words = f"{card.venue}, arXiv {card.arxiv}" if card.arxiv else card.venue
    return f"[{words}]({place})" if place else words


def method_page(method: type[Method]) -> str:
    """Return the page of a method: its card and its hyper-parameters."""
    card = method.card
    tasks = "all" if card.tasks == TASKS else ", ".join(card.tasks)
    passes = f"{card.forwards:g} forward and {card.backwards:g} backward passes per batch"
    facts = {
        "Source": ". ".join(part for part in (card.authors, source(card)) if part),
        "Acts on": card.kind,
        "Tasks": tasks,
        "Fusion": f"`{card.fusion}`" if card.fusion else "any",
        "Cost": "; ".join(part for part in (passes, card.extra) if part),
        "Equals joint training with": ", ".join(f"`{key}: {value}`" for key, value in (card.neutral or {}).items()),
        "In a loop of your own": in_own_loop(method),
        "Differs from the source": card.differs,
    }
    listed = table(("", ""), [(f"**{name}**", cell(value)) for name, value in facts.items() if value])
    options = option_table(method, "method.") if any("help" in item.metadata for item in dataclasses.fields(method)) else ""
    place = f"{method.__module__}.{method.__qualname__}"
    return (
        f"# {method.name}\n\n**{card.title}.** {card.summary}\n\n```text\n{card.formula}\n```\n\n{listed}\n"
        f"## Hyper-parameters\n\n{options or 'None.'}\n\n"
        f"On the command line `--method {method.name}`"
        + (f" and, say, `--method.{dataclasses.fields(method)[1].name} VALUE`" if options else "")
        + f".\n\n## Class\n\n```{{eval-rst}}\n.. autoclass:: {place}\n   :no-members:\n```\n"
    )


def in_own_loop(method: type[Method]) -> str:
    """Return whether a method runs in a loop of one's own, and what it needs there."""
    from equipoise import Balancer

    needs = Balancer.methods().get(method.name)
    if needs is None:
        return "no: it trains in several phases, or decides which samples are drawn"
    return "yes" + (f", with {', '.join(f'`{word}`' for word in needs)}" if needs else "")


def methods_page() -> str:
    """Return the table of all methods."""
    rows = [
        (
            f"[`{name}`](methods/{name}.md)",
            METHODS.get(name).card.kind,
            "all" if METHODS.get(name).card.tasks == TASKS else ", ".join(METHODS.get(name).card.tasks),
            cell(METHODS.get(name).card.summary),
            source(METHODS.get(name).card),
        )
        for name in METHODS.names()
    ]
    tree = "\n".join(f"methods/{name}" for name in METHODS.names())
    return (
        f"# Methods\n\n{len(rows)} methods. Each has a page with its formula, its source, how it departs from it, its "
        "hyper-parameters and its cost; `equipoise methods NAME` prints the same.\n\n"
        + table(("method", "acts on", "tasks", "what it does", "source"), rows)
        + f"\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"
    )


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command with its parser, sub-commands after the command that they belong to."""
    waiting = list(_subparsers(_parser()[0]))
    while waiting:
        name, parser = waiting.pop(0)
        yield name, parser
        waiting = [(f"{name} {inner}", found) for inner, found in _subparsers(parser)] + waiting


def _subparsers(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [item for action in actions for item in action.choices.items()]


def command_page() -> str:
    """Return the reference of the command line: what is particular to each command; options in common stand apart."""
    shared = argparse.ArgumentParser()
    add_options(shared, tuple(config.SECTIONS))
    common = {action.dest for action in shared._actions}
    parts = [
        "# Command line\n\nOptions of training, reading and so on are the same everywhere: [Options](options.md). "
        "`equipoise COMMAND --help` prints all that a command has. The exit code is 0, 2 for a mistake in the input, "
        "130 after Ctrl-C.\n"
    ]
    for name, parser in commands():
        own = [action for action in parser._actions if action.dest not in common and action.dest not in ("help", "action")]
        sections = sorted(
            {config.option_sections()[action.dest] for action in parser._actions if action.dest in common - {"help"}}
        )
        parts.append(f"## equipoise {name}\n")
        first, *rest = (parser.description or "").strip().split("\n\n")
        parts.append(first + "\n")
        parts += [f"```text\n{textwrap.dedent(text).strip()}\n```\n" if text.startswith("  ") else f"{text}\n" for text in rest]
        rows = [(f"`{_call(action)}`", cell(action.help or "")) for action in own]
        parts.append(table(("argument", "meaning"), rows) if rows else "")
        links = [f"[{section}](options.md#{section})" for section in config.SECTIONS if section in sections]
        parts.append(f"And options of {', '.join(links)}.\n" if links else "")
    return "\n".join(parts)


def _call(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    return f"{name} {action.metavar}" if action.option_strings and action.nargs != 0 and action.metavar else name


def options_page() -> str:
    """Return the reference of all options."""
    parts = [
        "# Options\n\nThe same names everywhere: `--batch-size 32` or `--batch_size 32` on the command line, `batch_size: 32` in "
        "a file given by `--config`, `batch_size=32` in `equipoise.fit`. Names are unique, so no section is stated.\n"
    ]
    for name, cls in config.SECTIONS.items():
        parts.append(f"## {name}\n\n{(cls.__doc__ or '').strip().splitlines()[0]}\n\n{option_table(cls)}")
    for words, cls in COMPONENTS:
        first = (cls.__doc__ or "").strip().splitlines()[0].replace("`", "")
        parts.append(f"## Options of {words}\n\n{first}\n\n{option_table(cls)}")
    for kind in ("audio", "image", "video"):
        cls = decoder_class(kind)
        assert cls is not None
        stated = f"Stated under the modality: `{{kind: {kind}, options: {{...}}}}`."
        parts.append(f"## Options of {kind} files\n\n{stated}\n\n{option_table(cls)}")
    return "\n".join(parts)


def results_pages() -> dict[str, str]:
    """Return the measurements in ``benchmarks/results`` as pages."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "benchmarks" / "results").glob("*.md"))}


def every_page() -> dict[str, str]:
    """Return all generated pages by their paths in ``docs/generated``."""
    results = results_pages()
    tree = "\n".join(f"results/{name}" for name in results)
    return {
        "methods.md": methods_page(),
        **{f"methods/{name}.md": method_page(METHODS.get(name)) for name in METHODS.names()},
        "command_line.md": command_page(),
        "options.md": options_page(),
        "results.md": "# Measurements\n\nWhat the scripts in `benchmarks/` measured, with the command, the commit and the "
        f"machine. Targets are met or missed as they are.\n\n```{{toctree}}\n{tree}\n```\n",
        **{f"results/{name}.md": text for name, text in results.items()},
    }


def write_pages(folder: Path) -> None:
    """Write the generated pages, and remove those that are no more."""
    pages = every_page()
    for old in folder.rglob("*.md"):
        if old.relative_to(folder).as_posix() not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def only_ours(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out members that a class has from scikit-learn, PyTorch and other libraries."""
    module = getattr(obj, "__module__", None) or getattr(getattr(obj, "fget", None), "__module__", None)
    return True if module and not module.startswith("equipoise") else None


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir) / "generated"))
    app.connect("autodoc-skip-member", only_ours)
    return {"parallel_read_safe": True}


__all__ = ["every_page", "setup", "write_pages"]
