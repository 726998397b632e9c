"""The sections of a page: what a diagnosis says, in words, pictures and tables. Pure functions of its plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from equipoise.report import charts
from equipoise.report.blocks import Block, Cell, Commands, Figure, Points, Section, Table, Words, cell, number, point_of, table
from equipoise.report.information import information
from equipoise.report.reproduction import command, reproduction
from equipoise.report.targets import labels, report_heads, report_table, residuals

Data = Mapping[str, Any]
Rows = list[tuple[Any, ...]]

EPOCHS_SHOWN = 60
"""Rows of the table beside a learning curve; of longer training, every so many epochs are listed."""

COALITIONS_SHOWN = 31
"""More coalitions than these are listed by size: single modalities, all but one, and all."""

MATRIX_UP_TO = 15
"""Up to this many classes a confusion matrix is a table too; beyond, the most frequent mistakes are listed."""

WAYS = {
    "mask": "absent by mask (as the model treats one that is missing)",
    "mean": "by mean (features replaced by their mean in training)",
    "permutation": "by permutation (features of another sample)",
}

STATES = {
    "starved": "its encoder learned less inside than alone",
    "held": "its encoder learned as much inside as alone",
    "over-fed": "its encoder learned more inside than alone",
    "unclear": "too few samples to tell",
}

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "auroc": "AUROC",
    "nll": "log-loss (nats)",
    "brier": "Brier score",
    "ece": "calibration error",
}
"""Metrics of classes, in the order in which they are shown."""

NAMES = {
    **METRICS,
    "kappa": "kappa",
    "mae": "mean absolute error",
    "micro_f1": "micro-F1",
    "subset_accuracy": "subset accuracy",
    "map": "mean average precision",
    "r2": "R²",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "correlation": "correlation",
    "loss": "loss",
}
"""Names of the metrics of all tasks."""


def sections(found: Data) -> list[Section]:
    """Return all sections of a diagnosis.

    Args:
        found: What :meth:`equipoise.diagnosis.diagnose.Diagnosis.to_json` returns.
    """
    made = (
        _verdict,
        _capacity,
        _coalitions,
        information,
        _dynamics,
        _modalities,
        _answers,
        _calibration,
        _robustness,
        _samples,
        _data,
        reproduction,
    )
    needs = {_dynamics: "dynamics", _calibration: "calibration"}
    return [make(found) for make in made if make not in needs or found[needs[make]]]


def metrics_of(found: Data) -> dict[str, str]:
    """Return the metrics that a diagnosis has, each with the head of its column."""
    return {key: NAMES[key] for key in found["outputs"]["fused"]["metrics"]}


def _verdict(found: Data) -> Section:
    verdict = found["verdict"]
    blocks: list[Block] = [Words(verdict["text"])]
    for finding in verdict["findings"]:
        rows = [(item["modality"], item["words"], item["estimate"]) for item in finding["evidence"]]
        drawn = [(name, [(words, point_of(estimate))]) for name, words, estimate in rows]
        title = f"Evidence: {finding['kind']}"
        shown = table(title, ("modality", "number", "value (95 % interval)"), rows)
        said = "; ".join(dict.fromkeys(words for _, words, _ in rows))
        blocks.append(Figure(title, charts.bars(title, drawn), shown, (), f"Drawn: {said}."))
        if finding["methods"]:
            blocks.append(Words(f"What addresses it ({finding['kind']}):"))
            blocks.append(Points(tuple((name, reason) for name, reason in finding["methods"])))
            blocks.append(Commands((command(found, {"name": finding["methods"][0][0]}, "RUN"),)))
    if verdict["unclear"]:
        rows = [(item["modality"], item["words"], item["estimate"]) for item in verdict["unclear"]]
        blocks.append(table("Too few samples to decide", ("modality", "number", "value (95 % interval)"), rows))
    states = [
        (item["modality"], item["state"], STATES[item["state"]], f"{100 * found['samples']['decided'][item['modality']]:.0f} %")
        for item in found["capacity"]
    ]
    blocks.append(table("State of each modality", ("modality", "state", "meaning", "decided"), states))
    metrics = metrics_of(found)
    scored = [(name, item["samples"], *(item["metrics"][key] for key in metrics)) for name, item in found["outputs"].items()]
    blocks.append(table("Metrics on the test part", ("output", "samples", *metrics.values()), scored))
    if found["notes"]:
        blocks.append(Points(tuple(("note", note) for note in found["notes"])))
    scores = found["terms"]["scores"]
    intro = f"What is wrong, by stated rules, and what to do. Scores are {scores} on the test part, intervals 95 %."
    return Section("verdict", "Verdict", intro, blocks)


def _capacity(found: Data) -> Section:
    kinds = {"own output": ("alone", "inside", "gap"), "linear probe": ("alone_probe", "inside_probe", "encoder_gap")}
    blocks: list[Block] = []
    for words, (alone, inside, gap) in kinds.items():
        rows = [(item["modality"], item[alone], item[inside], item[gap], item["state"]) for item in found["capacity"]]
        drawn = [(name, [("alone", point_of(one)), ("inside", point_of(two))]) for name, one, two, *_ in rows]
        title = f"Alone and inside the model, by {words}"
        shown = table(title, ("modality", "alone", "inside", "gap", "state"), rows)
        chance = found["terms"]["chance"]
        seen = f"The vertical line marks {found['terms']['guess']} ({round(chance, 2) + 0:.2f})."
        blocks.append(Figure(title, charts.bars(title, drawn, chance), shown, ("alone", "inside"), seen))
    heads = ("modality", "samples", "alone", "probe alone", "inside", "probe inside")
    for key in found["capacity"][0]["also"] if found["capacity"] else ():
        other = [(item["modality"], item["samples"], *item["also"][key].values()) for item in found["capacity"]]
        blocks.append(table(f"The same as {NAMES[key]}", heads, other))
    intro = (
        "What each modality reaches in a model of its own, against its branch inside this model. The probe is a linear "
        f"{found['terms']['probe']} on frozen features: its gap is what the encoder lost, and decides the state."
    )
    return Section("capacity", "Capacity gaps", intro, blocks)


def _coalitions(found: Data) -> Section:
    ways = found["coalitions"]
    masked = ways["mask"]
    names = list(masked["shapley"])
    rows = [(name, *(ways[way]["shapley"][name] for way in ways), masked["removal"][name]) for name in names]
    title = "Shapley value of each modality"
    drawn = [(row[0], [(way, point_of(value)) for way, value in zip(ways, row[1:-1], strict=True)]) for row in rows]
    shown = table(title, ("modality", *ways, "score lost without it"), rows)
    sums = f"They sum to the score of all modalities minus that of {found['terms']['guess']}."
    blocks: list[Block] = [Figure(title, charts.bars(title, drawn), shown, tuple(WAYS[way] for way in ways), sums)]
    title = "Equilibrium deviation (0 balanced, 1 one modality has everything)"
    spread = [(f"absent by {way}", item["deviation"]) for way, item in ways.items()]
    drawn = [(words, [("", point_of(value))]) for words, value in spread]
    blocks.append(Figure(title, charts.bars(title, drawn), table(title, ("way", "deviation"), spread)))
    if masked["standard_error"]:
        errors = list(masked["standard_error"].items())
        blocks.append(table("Standard error of the Shapley values, of the choice of orders", ("modality", "error"), errors))
    blocks.append(_scores(masked["scores"], len(names), found["terms"]["loss"]))
    blocks += _others(masked, found["terms"])
    if masked["interactions"]:
        blocks.append(_interactions(masked["interactions"], names))
    intro = "What subsets of the modalities reach inside this model, and what each modality contributes to the score."
    return Section("coalitions", "Coalitions and Shapley values", intro, blocks)


def _others(masked: Data, terms: Data) -> list[Block]:
    """Contributions by the main metric of the task and by the loss, and coalitions by the former, where it is not the score."""
    also, main = masked["also"], NAMES[terms["main"]]
    keys = [key for key in also if key != terms["key"]]
    rows = [(name, *(also[key][name] for key in keys)) for name in masked["shapley"]]
    heads = ("modality", *("loss that it takes away" if key == "loss" else NAMES[key] for key in keys))
    blocks: list[Block] = [table("Shapley values by other measures", heads, rows)] if keys else []
    if terms["main"] != terms["key"]:
        kept = _kept(masked["scores"], len(masked["shapley"]))
        coalitions = [(" + ".join(item["modalities"]), item["main"]) for item in kept]
        blocks.append(table(f"Coalitions by {main}", ("coalition", main), coalitions))
    return blocks


def _kept(scores: Sequence[Data], count: int) -> list[Data]:
    """Return the coalitions that are listed, small ones first."""
    kept = [item for item in scores if len(scores) <= COALITIONS_SHOWN or len(item["modalities"]) in (1, count - 1, count)]
    return sorted(kept, key=lambda item: (len(item["modalities"]), -(item["score"]["value"] or 0.0)))


def _scores(scores: Sequence[Data], count: int, loss: str) -> Figure:
    kept = _kept(scores, count)
    rows = [(" + ".join(item["modalities"]), item["score"], item["loss"]) for item in kept]
    title = "Score of coalitions, the others absent by mask"
    drawn = [(name, [("", point_of(score))]) for name, score, _ in rows]
    shown = table(title, ("coalition", "score", loss), rows)
    left = len(scores) - len(kept)
    words = f"{left} coalitions between one modality and all but one are left out here, not in the JSON." if left else ""
    return Figure(title, charts.bars(title, drawn), shown, (), words)


def _interactions(pairs: Sequence[Sequence[Any]], names: Sequence[str]) -> Figure:
    known = {(one, two): estimate for one, two, estimate in pairs}
    cells = [[known.get((one, two)) or known.get((two, one)) for two in names] for one in names]
    values = [[None if item is None else item["value"] for item in row] for row in cells]
    texts = [["" if value is None else f"{value:.2f}" for value in row] for row in values]
    title = "Shapley interaction of pairs"
    shown = table(title, ("first", "second", "interaction"), pairs)
    words = "Above 0 the two are worth more together than apart; below 0 they say the same."
    return Figure(title, charts.heat(title, names, names, values, texts), shown, (), words)


def _dynamics(found: Data) -> Section:
    course = found["dynamics"]
    blocks: list[Block] = [_course(course, "Loss in training", course["losses"])]
    validation = course["validation"]
    main = found["terms"]["main"]
    for key, words in (("loss", "Loss in validation"), (main, f"{NAMES[main][0].upper()}{NAMES[main][1:]} in validation")):
        curves = {name: values[key] for name, values in validation.items() if key in values}
        if curves:
            blocks.append(_course(course, words, curves))
    groups: dict[str, dict[str, Sequence[float | None]]] = {}
    for name, values in course["coefficients"].items():
        group, _, member = name.partition(".")
        groups.setdefault(group, {})[member or group] = values
    for name, curves in groups.items():
        blocks.append(_course(course, f"Coefficient of the method: {name}", curves))
    measured = course["gradients"]
    kinds = {
        "norm": "Length of the gradient of each encoder",
        "share": "Share of each encoder in the steps",
        "cosine": "Cosine of the gradients of own and joint loss",
    }
    for key, words in kinds.items():
        curves = {name: values[key] for name, values in measured.items() if key in values}
        if curves:
            blocks.append(_course(course, words, curves))
    blocks.append(_course(course, "Learning rate", {"learning rate": course["learning_rate"]}))
    intro = "The course of training, epoch by epoch, with what the method weighed and noted."
    if len(set(course["phases"])) > 1:
        intro += " Vertical lines mark where a phase begins."
    return Section("training", "Learning curves", intro, blocks)


def _course(course: Data, title: str, curves: Mapping[str, Sequence[float | None]]) -> Figure:
    phases, epochs = course["phases"], course["epochs"]
    at = list(range(1, len(epochs) + 1))
    starts = [(place, phases[place - 1]) for place in at[1:] if phases[place - 1] != phases[place - 2]]
    lines = {name: [point_of(value) for value in values] for name, values in curves.items()}
    known = [row for row in range(len(at)) if any(values[row] is not None for values in curves.values())]
    step = -(-len(known) // EPOCHS_SHOWN) or 1
    kept = sorted({*known[::step], *known[-1:]})
    rows = [(at[row], phases[row], epochs[row], *(_precise(values[row]) for values in curves.values())) for row in kept]
    shown = table(title, ("place", "phase", "epoch", *curves), rows)
    words = f"The table lists one in {step} of the epochs that have a value, and the last." if step > 1 else ""
    legend = tuple(curves) if len(curves) > 1 else ()
    return Figure(title, charts.lines(title, at, lines, "epoch", starts), shown, legend, words)


def _precise(value: float | None) -> Cell:
    """Return the cell of a number of which three decimals may say nothing."""
    shown = cell(value)
    return shown if value is None or value == 0 or abs(value) >= 0.01 else Cell(f"{value:.2e}", value)


def _modalities(found: Data) -> Section:
    classes, decision, terms = found["data"]["classes"], found["decision"], found["terms"]
    capacity = {item["modality"]: item for item in found["capacity"]}
    blocks: list[Block] = []
    for name, item in capacity.items():
        parts = found["samples"]
        right = parts["right"][name]
        rows = [
            ("state", f"{item['state']}: {STATES[item['state']]}"),
            ("alone, own output", item["alone"]),
            ("inside, own output", item["inside"]),
            ("alone, linear probe", item["alone_probe"]),
            ("inside, linear probe", item["inside_probe"]),
            ("Shapley value (mask)", found["coalitions"]["mask"]["shapley"][name]),
            ("score lost without it", found["coalitions"]["mask"]["removal"][name]),
            *_told(found, name),
            (f"loss in training, {terms['unit']}", found["generalisation"][name]["train_loss"]),
            (f"loss, {terms['unit']}", found["generalisation"][name]["loss"]),
            ("weight in the decision layer", decision[name]["weight"]),
            ("length of its features", decision[name]["reach"]),
            (f"share of the {terms['gives']}", decision[name]["share"]),
            ("samples that it decided", f"{100 * parts['decided'][name]:.0f} %"),
            (terms["right"], "-" if right is None else f"{100 * right:.0f} %" if terms["shares"] else right),
            ("samples that have it, test", item["samples"]),
        ]
        blocks.append(table(f"Modality {name}", ("measure", "value"), rows))
    for key, title, words in (
        ("ability", f"Per {terms['one']}: {terms['ability']}", "What each modality can do."),
        ("class_share", f"Per {terms['one']}: its share of the {terms['gives']}", "What the decision layer makes of it."),
    ):
        values = [[decision[name][key][label] for name in capacity] for label in classes]
        texts = [[number(value)[: 4 + (value is not None and value < 0)] for value in row] for row in values]
        shown = table(title, (terms["one"], *capacity), [(label, *row) for label, row in zip(classes, values, strict=True)])
        blocks.append(Figure(title, charts.heat(title, classes, list(capacity), values, texts), shown, (), words))
    return Section("modalities", "Modality by modality", "Everything about each modality in one place.", blocks)


def _told(found: Data, name: str) -> Rows:
    """What a modality's own output tells, and whether its confidence can be believed, as far as the task has that."""
    told, calibration = found["information"]["modalities"][name], found["calibration"].get(name)
    if calibration is None:
        return [("information by near samples, in nats", told["neighbours"])]
    return [("budget, in nats", told["budget"]), ("calibration error", calibration["error"])]


def _answers(found: Data) -> Section:
    """What is taken for what: classes for each other, or labels and numbers one by one."""
    if found["residuals"]:
        return residuals(found)
    return _confusion(found) if found["outputs"]["fused"]["confusion"] else labels(found)


def _confusion(found: Data) -> Section:
    classes = found["data"]["classes"]
    blocks: list[Block] = []
    for name, item in found["outputs"].items():
        counts = item["confusion"]
        title = f"Confusion of {name}"
        picture = charts.heat(title, classes, classes, counts, [list(map(str, row)) for row in counts])
        words = "Rows are true classes, columns predicted ones."
        blocks.append(Figure(title, picture, _counts(title, classes, counts), (), words))
    blocks.append(table("Classes: the fused output, and each modality's own", report_heads(found), report_table(found)))
    intro = "Which classes are taken for which, by the fused output and by each modality's own."
    return Section("confusion", "Confusion matrices", intro, blocks)


def _counts(title: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    if len(classes) <= MATRIX_UP_TO:
        return table(title, ("true class", *classes), [(label, *row) for label, row in zip(classes, counts, strict=True)])
    mistakes = [
        (classes[true], classes[said], count)
        for true, row in enumerate(counts)
        for said, count in enumerate(row)
        if count and true != said
    ]
    mistakes.sort(key=lambda row: -row[2])
    return table(f"{title}: the most frequent mistakes", ("true class", "predicted", "samples"), mistakes[:100])


def _calibration(found: Data) -> Section:
    measured = found["calibration"]
    title = "Expected calibration error of each output"
    rows = [(name, item["error"], item["loss"], item["brier"]) for name, item in measured.items()]
    drawn = [(name, [("", point_of(error))]) for name, error, *_ in rows]
    shown = table(title, ("output", "calibration error", "log-loss (nats)", "Brier score"), rows)
    blocks: list[Block] = [Figure(title, charts.bars(title, drawn), shown)]
    for name, item in measured.items():
        curve = (item["confidence"], item["accuracy"], item["samples"])
        title = f"Reliability of {name}"
        bins = [row for row in zip(*curve, strict=True) if row[2]]
        shown = table(title, ("confidence", "right", "samples"), bins)
        words = "Below the line it is surer than it is right. Larger dots are more samples."
        blocks.append(Figure(title, charts.reliability(title, *curve), shown, (), words))
    return Section("calibration", "Calibration", "Whether the confidence of each output can be believed.", blocks)


def _robustness(found: Data) -> Section:
    kinds = {
        "noise": ("Score when one modality gets noisy", "standard deviations of noise"),
        "absence": ("Score when one modality goes missing", "share of samples that lose it"),
        "shuffling": ("Score when one modality is that of other samples", "0: undisturbed, 1: shuffled"),
    }
    blocks: list[Block] = []
    for kind, (title, across) in kinds.items():
        curves = {item["modality"]: item for item in found["robustness"] if item["kind"] == kind}
        if not curves:
            continue
        levels = next(iter(curves.values()))["levels"]
        lines = {name: [point_of(score) for score in item["scores"]] for name, item in curves.items()}
        rows = [(f"{level:g}", *(item["scores"][row] for item in curves.values())) for row, level in enumerate(levels)]
        shown = table(title, (across, *curves), rows)
        blocks.append(Figure(title, charts.lines(title, levels, lines, across), shown, tuple(curves)))
    return Section("robustness", "Robustness", "What becomes of the fused score when one modality is disturbed.", blocks)


def _samples(found: Data) -> Section:
    told, terms = found["samples"], found["terms"]
    title = "Who decided"
    rows = [(name, share, told["right"][name]) for name, share in told["decided"].items()]
    drawn = [(name, [("decided", point_of(share)), (terms["right"], point_of(right))]) for name, share, right in rows]
    shown = table(title, ("modality", "share of samples that it decided", terms["right"]), rows)
    blocks: list[Block] = [Figure(title, charts.bars(title, drawn), shown, ("decided", terms["right"]))]
    blocks += [
        _listed("Samples of most disagreement", found, told["samples"], search=True),
        _listed("Samples of largest loss", found, told["hardest"]),
    ]
    intro = f"Where modalities disagree most. Mean disagreement of all samples: {number(told['disagreement'])} nats."
    return Section("samples", "Sample by sample", intro, blocks)


def _listed(title: str, found: Data, samples: Sequence[Data], search: bool = False) -> Table:
    """Samples, with what each modality says of them and contributes."""
    terms, names = found["terms"], list(found["samples"]["decided"])
    judged = ("outcome", "confidence") if terms["shares"] else ("error",)
    listed = [
        (
            item["id"],
            item["label"],
            item["predicted"],
            *_outcome(item),
            item["decided"],
            item["disagreement"],
            *(_says(*item["own"][name]) if name in item["own"] else "absent" for name in names),
            *(item["contributions"][name] for name in names),
        )
        for item in samples
    ]
    true = terms["one"] if found["outputs"]["fused"]["confusion"] else "true"
    heads = ("sample", true, "predicted", *judged, "decided by", "disagreement")
    said, worth = [f"{name} says" for name in names], [f"{name} contributes" for name in names]
    return table(title, (*heads, *said, *worth), listed, search)


def _outcome(item: Data) -> tuple[Any, ...]:
    """Whether a sample is right and how sure that is, or how far off it is."""
    if item["error"] is not None:
        return (item["error"],)
    return "right" if item["label"] == item["predicted"] else "wrong", item["confidence"]


def _says(answer: str, confidence: float | None) -> str:
    return answer if confidence is None else f"{answer} {confidence:.2f}"


def _data(found: Data) -> Section:
    facts = found["data"]
    rows = [
        ("name", facts["name"]),
        ("source", "data in memory" if facts["source"] is None else str(facts["source"])),
        ("fingerprint", facts["fingerprint"]),
        ("split", str(facts["split"])),
        ("fingerprint of the split", facts["split_hash"]),
        *((f"samples for {part}", count) for part, count in facts["samples"].items()),
    ]
    present = [(name, *(facts["present"][part][name] for part in facts["present"])) for name in facts["modalities"]]
    blocks: list[Block] = [
        table("Data and split", ("fact", "value"), rows),
        table("Samples that have each modality", ("modality", *facts["present"]), present),
        _targets(facts, found["terms"]),
    ]
    return Section("data", "Data and split", "What the model was trained and judged on.", blocks)


def _targets(facts: Data, terms: Data) -> Table:
    """How many samples each class or label has, or how numbers are spread, per part."""
    counts, ranges = facts["of_class"], facts["ranges"]
    if terms["shares"]:
        rows = [(name, *(counts[part][name] for part in counts)) for name in facts["classes"]]
        return table(f"Samples of each {terms['one']}", (terms["one"], *counts), rows)
    rows = [(name, part, *ranges[part][name].values()) for name in facts["classes"] for part in ranges]
    return table("Targets", (terms["one"], "part", "mean", "standard deviation", "least", "most"), rows)
