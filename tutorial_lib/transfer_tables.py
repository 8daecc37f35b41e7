"""The recorded grid of transfer runs (chapter 09) as Markdown and pictures, for the Results page.

A run of the grid is one family of models on one pair of domains; its metrics are named as
`benchmarks.transfer` names them. Nothing here is computed but means, differences and one
correlation over what the runs hold.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import numpy as np

from tutorial_lib import plots
from tutorial_lib.results import Run
from tutorial_lib.tables import percent

AT = 100  # labels, where the runs hold intervals
LABELS = " labels"
SCRATCH, COUNTS = "from scratch", "NB-SVM"
FORGOTTEN = "forgotten of the source, "

Pairs = Mapping[tuple[str, str], Sequence[Run]]


def pairs(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Return the grid's runs by source and target, the pairs with most amounts of labels first."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if "source" in run.hyperparameters and ": " in run.model:
            found.setdefault((run.hyperparameters["source"], run.data["name"]), []).append(run)
    return dict(sorted(found.items(), key=lambda item: (-len(amounts(item[1][0])), item[0])))


def family(run: Run) -> str:
    """Return the name of a run's family of models."""
    return run.model.partition(": ")[0]


def amounts(run: Run) -> list[int]:
    """Return the amounts of labels of a run, ascending."""
    names = {name.rsplit(", ", 1)[1] for name in run.metrics if name.endswith(LABELS)}
    return sorted(int(name.removesuffix(LABELS)) for name in names)


def ways(runs: Sequence[Run]) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Return the accuracies of each family and method by amount; NB-SVM once."""
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for run in runs:
        for name, values in run.metrics.items():
            if name.endswith(LABELS):
                method, amount = name.removesuffix(LABELS).rsplit(", ", 1)
                if method != COUNTS or family(run) == COUNTS:
                    found.setdefault((family(run), method), {})[int(amount)] = values
    return found


def by_amount(runs: Sequence[Run]) -> str:
    """Return a pair's accuracies as a table, a row for each family and method.

    The number is the mean over the seeds, then their standard deviation; the best mean of each
    column is bold. `no label` is the source's model as it is.
    """
    table, columns = ways(runs), sorted({n for run in runs for n in amounts(run)})
    zero = {family(run): run.metrics["source only"] for run in runs if "source only" in run.metrics}
    best = {n: max(fmean(row[n]) for row in table.values() if n in row) for n in columns}
    lines = [
        "| family | method | no label | " + " | ".join(f"{n:,}" for n in columns) + " |",
        "|---|---|--:|" + "--:|" * len(columns),
    ]
    seen = set()
    for (name, method), row in table.items():
        first = percent(zero[name]) if name in zero and name not in seen else ""
        seen.add(name)
        cells = [
            (f"**{percent(row[n])}**" if fmean(row[n]) == best[n] else percent(row[n]))
            if n in row
            else "—"
            for n in columns
        ]
        lines.append(f"| {name} | {method} | {first} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences(runs: Sequence[Run]) -> str:
    """Return what each method gains over both baselines at 100 labels, with its interval.

    Gain and both ends are means over the seeds; an interval that holds 0 is no verdict.
    """
    lines = [
        "| family | method | minus from scratch | minus NB-SVM |",
        "|---|---|--:|--:|",
    ]
    for run in runs:
        rows: dict[str, dict[str, str]] = {}
        for name in run.metrics:
            if f"{name}, low" in run.metrics:
                method, other = name.removeprefix(f"{AT} labels: ").split(" minus ")
                value, low, high = (100 * run.mean(name + end) for end in ("", ", low", ", high"))
                rows.setdefault(method, {})[other] = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
        for method, row in rows.items():
            cells = (row.get(other, "—") for other in (SCRATCH, COUNTS))
            lines.append(f"| {family(run)} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curves(source: str, target: str, runs: Sequence[Run]) -> plots.Picture:
    """Draw a pair's learning curves: each family fine-tuned after the source, and two baselines.

    These are NB-SVM and TextCNN from scratch. The bars are standard deviations over the seeds.
    """
    drawn, (ax,) = plots.figure(height=3.6)
    shown = {
        name if method == COUNTS else f"{name}, {method}": row
        for (name, method), row in ways(runs).items()
        if method in ("full", COUNTS) or (name == "TextCNN" and method == SCRATCH)
    }
    ends = []
    for k, (name, row) in enumerate(shown.items()):
        means, spreads = zip(*((fmean(v), stdev(v)) for v in row.values()), strict=True)
        ax.errorbar(
            list(row), means, yerr=spreads, label=name, color=plots.COLOURS[k % 7], capsize=2,
            marker=plots.MARKERS[k % 7], linestyle=plots.DASHES[k % 4],
        )  # fmt: skip
        ends.append(f"{name} from {means[0]:.3f} to {means[-1]:.3f}")
    columns = sorted({n for row in shown.values() for n in row})
    ax.set(xscale="log", xlabel="labels of the target", ylabel="accuracy")
    ax.set_xticks(columns, [f"{n:,}" for n in columns])
    ax.minorticks_off()
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return plots.picture(
        drawn,
        alt=f"Line chart of accuracy by labels: {'; '.join(ends)}.",
        caption=f"From {source} to {target}: accuracy by the number of labels.",
    )


def heat(grid: Pairs, name: str) -> plots.Picture:
    """Draw, for one family, what each source gives each target: the gain over from scratch."""
    of_pair = {pair: run for pair, runs in grid.items() for run in runs if family(run) == name}
    sources = sorted({source for source, _ in of_pair})
    targets = sorted({target for _, target in of_pair})
    gain = np.full((len(sources), len(targets)), np.nan)
    for (source, target), run in of_pair.items():
        gain[sources.index(source), targets.index(target)] = _gain(run)
    caption = f"{name}, fine-tuned with {AT} labels of the target: accuracy gained."
    return plots.heat_maps(
        {"gain over scratch": gain}, sources, targets, x="target", y="source", caption=caption
    )


def distances(grid: Pairs) -> str:
    """Return the distance of pairs beside what the source gave each family at 100 labels.

    Pairs that lack the run of a family are left out. In the last row, for each family the
    correlation of distance and gain over the pairs of the table.
    """
    names = [
        n for n in dict.fromkeys(family(r) for runs in grid.values() for r in runs) if n != COUNTS
    ]
    rows = []
    for (source, target), runs in grid.items():
        of_family = {family(run): run for run in runs}
        if COUNTS in of_family and set(names) <= set(of_family):
            gains = [_gain(of_family[name]) for name in names]
            rows.append((source, target, of_family[COUNTS].mean("distance"), *gains))
    rows.sort(key=lambda row: row[2])
    lines = [
        "| source | target | distance | " + " | ".join(names) + " |",
        "|---|---|--:|" + "--:|" * len(names),
    ]
    for source, target, distance, *gains in rows:
        cells = " | ".join(f"{100 * gain:+.1f}" for gain in gains)
        lines.append(f"| {source} | {target} | {distance:.2f} | {cells} |")
    if len(rows) > 2:
        table = np.array([row[2:] for row in rows], float).T
        related = (f"{np.corrcoef(table[0], row)[0, 1]:+.2f}" for row in table[1:])
        lines.append("| correlation with the distance | | | " + " | ".join(related) + " |")
    return "\n".join(lines)


def guide(grid: Pairs) -> str:
    """Return the best way for each pair and amount of labels, and its lead over NB-SVM.

    The best is chosen on the scored texts themselves, so its lead is somewhat too large.
    """
    lines = [
        "| source | target | labels | best mean | accuracy | lead over NB-SVM |",
        "|---|---|--:|---|--:|--:|",
    ]
    for (source, target), runs in grid.items():
        table = ways(runs)
        for n in sorted({n for row in table.values() for n in row}):
            (name, method), row = max(
                ((way, row) for way, row in table.items() if n in row),
                key=lambda item: fmean(item[1][n]),
            )
            lead = "—"
            if n in table.get((COUNTS, COUNTS), {}):
                lead = f"{100 * (fmean(row[n]) - fmean(table[COUNTS, COUNTS][n])):+.1f}"
            best = name if name == method else f"{name}, {method}"
            lines.append(f"| {source} | {target} | {n:,} | {best} | {percent(row[n])} | {lead} |")
    return "\n".join(lines)


def forgotten(grid: Pairs) -> str:
    """Return the points of accuracy on the source that 100 labels of the target have cost."""
    methods = list(
        dict.fromkeys(
            name.removeprefix(FORGOTTEN)
            for runs in grid.values()
            for run in runs
            for name in run.metrics
            if name.startswith(FORGOTTEN)
        )
    )
    lines = [
        "| source | target | family | before | " + " | ".join(methods) + " |",
        "|---|---|---|--:|" + "--:|" * len(methods),
    ]
    for (source, target), runs in grid.items():
        for run in runs:
            if "source accuracy" in run.metrics:
                cells = [
                    f"{0.0 - 100 * run.mean(FORGOTTEN + method):+.1f}"
                    if FORGOTTEN + method in run.metrics
                    else "—"
                    for method in methods
                ]
                before = percent(run.metrics["source accuracy"])
                row = f"{source} | {target} | {family(run)} | {before} | {' | '.join(cells)}"
                lines.append(f"| {row} |")
    return "\n".join(lines)


def ranks(run: Run) -> str:
    """Return LoRA's accuracy by its rank, with the numbers that were trained."""
    lines = ["| rank | trained numbers | kB | accuracy |", "|---|--:|--:|--:|"]
    for name, values in run.metrics.items():
        if name.endswith(", accuracy"):
            way = name.removesuffix(", accuracy")
            trained = round(run.mean(f"{way}, trained parameters"))
            lines.append(f"| {way} | {trained:,} | {4 * trained / 1e3:,.0f} | {percent(values)} |")
    return "\n".join(lines)


def _gain(run: Run) -> float:
    return run.mean(f"full, {AT} labels") - run.mean(f"{SCRATCH}, {AT} labels")
