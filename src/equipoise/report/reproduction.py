"""The section that says how a run was made, and the commands that make it again. Pure functions of plain data."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from equipoise.config import FitConfig
from equipoise.methods.base import make_method
from equipoise.report.blocks import Block, Commands, Points, Section, Words, table

Data = Mapping[str, Any]


def reproduction(found: Data) -> Section:
    """Return the section that says how to get a run again."""
    run = found["run"]
    folder = run["folder"] or "RUN"
    commands = (command(found, _unusual(run["options"]["method"]), folder), shlex.join(["equipoise", "report", folder]))
    own = [name for name, encoder in run["encoders"].items() if "class" in encoder]
    blocks: list[Block] = [Commands(commands)]
    if found["data"]["source"] is None:
        blocks.append(Words("The data were in memory: DATA stands for a file or folder that holds them."))
    if own:
        blocks.append(Words(f"Encoders of the user's own cannot be named in a command: {', '.join(own)}."))
    versions = [*run["versions"].items(), *((key, str(value)) for key, value in run["hardware"].items())]
    phases = [(name, item["epochs"], item["selected_epoch"]) for name, item in run["phases"].items()]
    cost = [("parameters", run["parameters"]), ("updates", run["updates"]), ("seconds of training", float(run["seconds"]))]
    cost.append(("seconds of the diagnosis", float(found["seconds"])))
    method = [(key, _plain(value)) for key, value in run["method"].items()]
    blocks += [
        table("Method", ("setting", "value"), method),
        table("Phases of training", ("phase", "epochs", "selected epoch"), phases),
        table("Cost", ("measure", "value"), cost),
        table("Versions and machine", ("what", "value"), [*versions, ("report", found["equipoise"])]),
        table("Options", ("option", "value"), [(key, _plain(value)) for key, value in run["options"].items()]),
        table("Encoders and fusion", ("part", "value"), [(key, _plain(value)) for key, value in _parts(run).items()]),
    ]
    notes = [("note", note) for note in run["notes"]]
    if run["inert"]:
        notes.append(("note", "every coefficient of the method kept its neutral value: it did nothing in this run"))
    if notes:
        blocks.append(Points(tuple(notes)))
    return Section("reproduction", "Configuration and commands", "How to get this again.", blocks)


def _parts(run: Data) -> dict[str, Any]:
    return {**{f"encoder of {name}": value for name, value in run["encoders"].items()}, "fusion": run["fusion"]}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def command(found: Data, method: Any, folder: str) -> str:
    """Return the command that trains as the run was trained, with a method; only what is not the default is named."""
    usual = FitConfig().to_options()
    words = ["equipoise", "fit", str(found["data"]["source"] or "DATA"), *_words("method", method)]
    for name, value in found["run"]["options"].items():
        if name != "method" and value != usual.get(name):
            words += _words(name, value)
    return shlex.join([*words, "--out", folder])


def _unusual(method: Data) -> Data:
    """Return the description of a method without the hyper-parameters that it has anyway."""
    usual = make_method({"name": method["name"]}).hyperparameters()
    return {key: value for key, value in method.items() if key == "name" or value != usual.get(key)}


def _words(name: str, value: Any) -> list[str]:
    """Return an option as words of the command line; a component with options of its own as several."""
    if not isinstance(value, Mapping) or name == "modalities":
        return [f"--{name.replace('_', '-')}", _plain(value)]
    words = [f"--{name}", str(value["name"])] if "name" in value else []
    for key, item in value.items():
        if key != "name":
            words += _words(f"{name}.{key}", item) if isinstance(item, Mapping) else [f"--{name}.{key}", _plain(item)]
    return words
