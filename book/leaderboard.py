"""The leader board of the Results page and its charts, made from the recorded runs.

HTML and SVG as text: each accuracy and each point is a link to its run further down the page.
"""

import html
import math
import statistics
from collections.abc import Callable, Sequence

from tutorial_lib.results import Run
from tutorial_lib.tables import CHANGED, markdown, percent

TICKS = {1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h"}
LEFT, RIGHT, TOP, LINE = 46, 400, 14, 20  # of a chart; its names stand right of it


def of_models(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that are one model's accuracy: no ablation, no comparison of speed."""
    return [run for run in runs if "accuracy" in run.metrics and not is_ablation(run)]


def is_ablation(run: Run) -> bool:
    """Return whether a run changes one thing of a recipe at a time."""
    return any(metric.startswith(CHANGED) for metric in run.metrics)


def board(runs: Sequence[Run]) -> str:
    """Return accuracies in per cent, a row for each model, a column for each data set.

    The best of a column is bold. A model with several runs on one set shows its best.
    """
    columns: dict[str, dict[str, Run]] = {}
    for run in sorted(of_models(runs), key=lambda run: run.mean("accuracy")):
        columns.setdefault(column(run), {})[run.model] = run  # the best comes last
    names = sorted(columns)
    models = sorted({model for column in columns.values() for model in column}, key=str.lower)
    best = {
        name: max(columns[name].values(), key=lambda run: run.mean("accuracy")) for name in names
    }
    rows = []
    for model in models:
        cells = []
        for name in names:
            run = columns[name].get(model)
            value = f"{100 * run.mean('accuracy'):.1f}" if run else ""
            value = f"**{value}**" if run is best[name] else value
            cells.append(link(run, value) if run else "")
        rows.append([model, *cells])
    return markdown(["model", *names], "l" + "r" * len(names), rows)


# Of the mini-ALBERT, in per cent, set before it was trained; with 100 labels, over "from scratch".
GOALS, GOAL_OF_100 = {"sst2": 85.9, "mr": 82.0, "imdb": 91.5}, 10.0
READERS = {
    "mini-ALBERT, fine-tuned": "mini-ALBERT",
    "mini-ALBERT's architecture from scratch": "from scratch",
    "TextCNN-rand": "TextCNN",
    "TextCNN on word vectors from the mini-ALBERT's texts": "TextCNN, word vectors",
    "NB-SVM": "NB-SVM",
}


def pretraining(runs: Sequence[Run]) -> str:
    """Return the mini-ALBERT beside its rivals, and its goals.

    A row for each data set, means and standard deviations in per cent. Of several runs of a model
    on one set it is the best of those that are scored as the mini-ALBERT is, if there are any.
    """
    protocol = {column(run): run.protocol for run in runs if run.model == next(iter(READERS))}
    rows: dict[str, dict[str, Run]] = {}
    for run in sorted(
        of_models(runs), key=lambda r: (r.protocol == protocol.get(column(r)), r.mean("accuracy"))
    ):
        if run.model in READERS and column(run) in protocol:
            rows.setdefault(column(run), {})[READERS[run.model]] = run  # the best comes last
    names = READERS.values()
    lines = []
    for data, row in sorted(rows.items()):
        cells = [
            link(row[name], percent(row[name].metrics["accuracy"])) if name in row else "—"
            for name in names
        ]
        goal = GOALS.get(data)
        if data.endswith(", 100 labels") and "from scratch" in row:
            goal = 100 * row["from scratch"].mean("accuracy") + GOAL_OF_100
        if goal:
            missing = max(0.0, goal - 100 * row["mini-ALBERT"].mean("accuracy"))
            cells += [f"{goal:.1f}", f"{missing:.1f}"]
        else:
            cells += ["—", "—"]
        lines.append([data, *cells])
    head = ["data", *names, "goal", "missing"]
    return markdown(head, "l" + "r" * (len(head) - 1), lines)


def column(run: Run) -> str:
    """Return what a run is a result on: the data set, its language, the number of labels."""
    language = f" ({run.data['title'].split(', ')[1]})" if run.data["name"] == "reviews" else ""
    labels = run.protocol.rsplit(", ", 1)[-1]
    return run.data["name"] + language + (f", {labels}" if labels.endswith(" labels") else "")


def link(run: Run, text: str) -> str:
    """Return a link to the run's details, further down the same page."""
    return f'<a href="#run-{run.task}">{text}</a>'


def chart(runs: Sequence[Run]) -> str:
    """Return accuracy against time, a point and a name for each run, as SVG; "" for fewer than two.

    The time is the mean over seeds of processor time, from texts to scores, on a logarithmic axis.
    """
    scored = sorted(of_models(runs), key=lambda run: -run.mean("accuracy"))
    if len(scored) < 2:
        return ""
    bottom = TOP + max(180, LINE * len(scored))
    accuracies = [100 * run.mean("accuracy") for run in scored]
    across = _axis([math.log(_seconds(run)) for run in scored], LEFT, RIGHT)
    up = _axis(accuracies, bottom, TOP)
    points = "".join(
        _point(run, TOP + LINE * k + 10, across(math.log(_seconds(run))), up(accuracy))
        for k, (run, accuracy) in enumerate(zip(scored, accuracies, strict=True))
    )
    words = "; ".join(_says(run) for run in scored)
    return (
        f'<figure class="tl-chart"><svg role="group" viewBox="0 0 790 {bottom + 40}" '
        f'aria-label="Accuracy against time. {html.escape(words)}.">'
        f"{_grid(across, up, accuracies, bottom)}{points}</svg>"
        "<figcaption>Accuracy in per cent against the processor time of one seed or fold. "
        "A point or a name leads to its run.</figcaption></figure>"
    )


def _name(run: Run) -> str:
    labels = column(run).partition(", ")[2]
    return f"{run.model}, {labels}" if labels else run.model


def _seconds(run: Run) -> float:
    return statistics.fmean(run.cpu_seconds)


def _says(run: Run) -> str:
    return f"{_name(run)}: {100 * run.mean('accuracy'):.1f} % in {duration(_seconds(run))}"


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, whichever reads best."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _axis(values: Sequence[float], first: float, last: float) -> Callable[[float], float]:
    """Return what puts a value on the line from `first` to `last`, with room at both ends."""
    room = 0.06 * (max(values) - min(values)) or 1.0
    least, width = min(values) - room, max(values) - min(values) + 2 * room
    return lambda value: round(first + (value - least) / width * (last - first), 1)


def _grid(across: Callable, up: Callable, accuracies: Sequence[float], bottom: float) -> str:
    """Return the axes with thin lines and labels at round values."""
    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{RIGHT}"/>']
    for seconds, label in TICKS.items():
        if LEFT <= (x := across(math.log(seconds))) <= RIGHT:
            parts.append(f'<path class="grid" d="M{x} {TOP}V{bottom}"/>')
            parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{label}</text>')
    low, high = min(accuracies), max(accuracies)
    step = next(s for s in (0.2, 0.5, 1, 2, 5, 10, 20) if (high - low) / s <= 6)
    for k in range(math.floor(low / step), math.ceil(high / step) + 1):
        if TOP <= (y := up(k * step)) <= bottom:
            parts.append(f'<path class="grid" d="M{LEFT} {y}H{RIGHT}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{k * step:g}</text>')
    return "".join(parts)


def _point(run: Run, line: float, x: float, y: float) -> str:
    """Return a point, its name at the right on a line of its own, and a thin line between them."""
    says = html.escape(_says(run))
    return (
        f'<a href="#run-{run.task}" aria-label="{says}"><title>{says}</title>'
        f'<path class="lead" d="M{x} {y}L{RIGHT + 14} {line - 4}"/>'
        f'<circle cx="{x}" cy="{y}" r="5"/>'
        f'<text x="{RIGHT + 18}" y="{line}">{html.escape(_name(run))}</text></a>'
    )
