"""Recorded runs as Markdown: the only source of the tables in the book."""

import statistics
from collections.abc import Iterable, Sequence

from tutorial_lib.results import Run

CHANGED = "accuracy, "  # begins the names of an ablation's metrics: one change each


def markdown(head: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table.

    Args:
        align: a letter for each column, `l` or `r`.
        rows: of as many cells as the head.
    """
    marks = "|".join({"l": "---", "r": "--:"}[letter] for letter in align)
    lines = [f"| {' | '.join(head)} |", f"|{marks}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def table(runs: Sequence[Run], metric: str = "accuracy") -> str:
    """Return the runs that report a metric as a Markdown table, the best first.

    The number is the mean over seeds or folds, then their standard deviation; the interval is
    the 95 % bootstrap over the test texts; minutes are processor time. A model's name leads to
    `#run-` and the task.
    """
    rows = []
    for run in sorted((r for r in runs if metric in r.metrics), key=lambda r: -r.mean(metric)):
        interval = "—"
        if metric == "accuracy" and run.classes:
            _, low, high = run.interval()
            interval = f"{100 * low:.1f} – {100 * high:.1f}"
        partial = " (partial)" if run.data["partial"] else ""
        rows.append(
            [
                f'<a href="#run-{run.task}">{run.model}</a>', run.data["name"] + partial,
                run.protocol, f"{percent(run.metrics[metric])} ({len(run.seeds)})", interval,
                f"{run.parameters:,}", f"{statistics.fmean(run.cpu_seconds) / 60:.2f}",
                f"{run.peak_memory_mb:,.0f}",
            ]
        )  # fmt: skip
    head = ["model", "data", "scored on", metric]
    return markdown([*head, "95 % interval", "parameters", "minutes", "MB"], "lllrrrrr", rows)


def details(run: Run) -> str:
    """Return everything else about a run as Markdown: every metric, settings, data, machine."""
    found = []
    for name, values in run.metrics.items():
        row = (run.mean(name), run.spread(name), min(values), max(values))
        found.append([name, *(f"{number:.4f}" for number in row)])
    settings = ", ".join(f"{name} = {value}" for name, value in run.hyperparameters.items())
    rows = ", ".join(f"{name} {count:,}" for name, count in run.data["rows"].items())
    partial = f" Partial: {run.data['partial']}." if run.data["partial"] else ""
    machine = run.environment
    return "\n".join(
        [
            markdown(["metric", "mean", "standard deviation", "lowest", "highest"], "lrrrr", found),
            "",
            f"- Repeat it: `{run.command}` at commit `{run.commit}`",
            f"- Data: {run.data['title']}; rows: {rows}.{partial}",
            f"- Settings: {settings}",
            f"- Seeds or folds: {', '.join(map(str, run.seeds))}",
            f"- Machine: {machine['device']} ({machine['device_name']}), "
            f"precision {machine['precision']}; Python {run.versions['python']}, "
            f"torch {run.versions['torch']}",
        ]
    )


def side_by_side(runs: Sequence[Run], prefix: str) -> str:
    """Return the metrics whose names begin with `prefix`, one row each, one column a model."""
    names = [name.removeprefix(prefix) for name in runs[0].metrics if name.startswith(prefix)]
    head = [prefix.strip(" :"), *(run.model for run in runs)]
    rows = ([name, *(percent(run.metrics[prefix + name]) for run in runs)] for name in names)
    return markdown(head, "l" + "r" * len(runs), rows)


def ablation(run: Run) -> str:
    """Return a recipe's accuracy and, one row each, with one thing changed.

    The difference is taken seed by seed: its mean, then its standard deviation.
    """
    base = run.metrics["accuracy"]
    rows = [["the recipe as it is", percent(base), ""]]
    for name, values in run.metrics.items():
        if name.startswith(CHANGED):
            difference = [value - before for value, before in zip(values, base, strict=True)]
            rows.append([name.removeprefix(CHANGED), percent(values), percent(difference, "+")])
    return markdown([run.model, "accuracy", "difference"], "lrr", rows)


FASTER = ", times as fast"  # in the names of a comparison's metrics, after what is timed
SCORED = "test accuracy, "  # begins those of what both ways then score, ours first


def speeds(runs: Sequence[Run]) -> str:
    """Return how many times as fast one way is as the other, a row for each thing that was timed.

    It is the mean over the seeds, with the lowest and the highest in brackets; accuracies are
    those of whole epochs.
    """
    rows = []
    for run in runs:
        both = [percent(v) for name, v in run.metrics.items() if name.startswith(SCORED)]
        for name, ratios in run.metrics.items():
            if FASTER in name:
                low, high = min(ratios), max(ratios)
                scored = ", ".join(both) if name.startswith("epoch") else "—"
                rows.append(
                    [
                        f'<a href="#run-{run.task}">{run.model}</a>', run.data["name"],
                        f"a training {name.replace(FASTER, '')}",
                        f"{run.mean(name):.2f} ({low:.2f} – {high:.2f})",
                        scored, run.environment["device_name"],
                    ]
                )  # fmt: skip
    head = ["comparison", "data", "of", "times as fast", "accuracy of each", "machine"]
    return markdown(head, "lllrrl", rows)


# Columns of `bounds`: heading, metric, decimals.
BOUNDS = (
    ("loss, nats a sentence", "loss", 2),
    ("reconstruction", "reconstruction", 2),
    ("KL", "kl", 2),
    ("active units", "units", 1),
    ("information", "information", 2),
    ("another's code costs", "swap cost", 2),
    ("importance-weighted loss", "weighted loss", 2),
    ("perplexity", "perplexity", 1),
    ("importance-weighted", "weighted perplexity", 1),
)


def bounds(runs: Sequence[Run]) -> str:
    """Return models of sentences as a Markdown table, the lowest loss first.

    Each number is the mean over seeds, then the standard deviation; a dash stands where a model
    has no such number, as a language model without a code has no KL.
    """
    rows = []
    for run in sorted(runs, key=lambda run: run.mean("loss")):
        cells = [
            f"{run.mean(metric):.{n}f}\u00a0±\u00a0{run.spread(metric):.{n}f}"
            if metric in run.metrics
            else "—"
            for _, metric, n in BOUNDS
        ]
        rows.append([run.model, f"{run.parameters:,}", *cells])
    head = ["model", "parameters", *(heading for heading, _, _ in BOUNDS)]
    return markdown(head, "l" + "r" * (len(head) - 1), rows)


def by_labels(run: Run) -> str:
    """Return accuracies named "METHOD, N labels" with a row for each method, a column for each N.

    Below them the paired differences, named "N labels: A minus B", with the ends of their
    intervals; all are means over the seeds.
    """
    cells: dict[str, dict[int, str]] = {}
    for metric, values in run.metrics.items():
        if metric.endswith(" labels"):
            method, amount = metric.removesuffix(" labels").rsplit(", ", 1)
            cells.setdefault(method, {})[int(amount.replace(",", ""))] = percent(values)
    amounts = sorted({amount for row in cells.values() for amount in row})
    head = ["accuracy with so many labels", *(f"{n:,}" for n in amounts)]
    rows = ([method, *(row.get(n, "—") for n in amounts)] for method, row in cells.items())
    gaps = [
        [metric, *(f"{100 * run.mean(metric + end):+.1f}" for end in ("", ", low", ", high"))]
        for metric in run.metrics
        if f"{metric}, low" in run.metrics
    ]
    accuracies = markdown(head, "l" + "r" * len(amounts), rows)
    return accuracies + "\n\n" + markdown(["difference", "mean", "from", "to"], "lrrr", gaps)


def percent(values: Sequence[float], sign: str = "") -> str:
    """Return mean ± standard deviation of shares over seeds, in per cent; no line breaks it."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.fmean(values):{sign}.1f}\u00a0±\u00a0{100 * spread:.1f}"
