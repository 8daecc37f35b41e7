"""The recorded grid of transfer runs (chapter 09) as Markdown and pictures, for the Results page.

A run of the grid is one family of models on one pair of domains; its metrics are named as
`benchmarks.transfer` names them. Nothing here is computed but means, differences and correlations
over what the runs hold.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

import numpy as np

from tutorial_lib import plots
from tutorial_lib.results import Run
from tutorial_lib.tables import markdown, percent

AT = 100  # labels, where the runs hold intervals
LABELS = " labels"
SCRATCH, COUNTS, START, ONLY = "from scratch", "NB-SVM", "no source task", "source only"
FAMILIES = (COUNTS, "TextCNN", "LSTM", "Transformer", "mini-ALBERT")  # as the chapters come
FORGOTTEN = "forgotten of the source, "
BOTH = "source and target together"
KNOWN = "words known"
LEADS = {  # of the source alone over the labels alone, in points
    "the source ahead by more than 5": (5, np.inf), "the source ahead by 0 to 5": (0, 5),
    "the labels ahead by 0 to 5": (-5, 0), "the labels ahead by 5 to 10": (-10, -5),
    "the labels ahead by more than 10": (-np.inf, -10),
}  # fmt: skip

Pairs = Mapping[tuple[str, str], Sequence[Run]]


def pairs(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Return the grid's runs by source and target, the pairs with most amounts of labels first.

    A pair's runs come in the order of the chapters.
    """
    found: dict[tuple[str, str], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (*FAMILIES, family(run)).index(family(run))):
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


def ways(runs: Sequence[Run], measure: str = "") -> dict[tuple[str, str], dict[int, list[float]]]:
    """Return the accuracies of each family and method by amount, or another measure; NB-SVM once.

    Args:
        measure: as the names of its metrics end, such as `, macro F1`.
    """
    found: dict[tuple[str, str], dict[int, list[float]]] = {}
    for run in runs:
        for name, values in run.metrics.items():
            if name.endswith(LABELS + measure):
                method, amount = name.removesuffix(LABELS + measure).rsplit(", ", 1)
                if method != COUNTS or family(run) == COUNTS:
                    found.setdefault((family(run), method), {})[int(amount)] = values
    return found


def by_amount(runs: Sequence[Run], measure: str = "") -> str:
    """Return a pair's accuracies, or another measure, a row for each family and method.

    The number is the mean over the seeds, then their standard deviation; the best mean of each
    column is bold. `source only` is the source's model as it is, so its 0 labels are of the target.
    """
    table, columns = ways(runs, measure), [0, *sorted({n for r in runs for n in amounts(r)})]
    for run in runs:
        if ONLY in run.metrics and not measure:
            table[family(run), ONLY] = {0: run.metrics[ONLY]}
    columns = columns if any(0 in row for row in table.values()) else columns[1:]
    best = {n: max(fmean(row[n]) for row in table.values() if n in row) for n in columns}
    lines = []
    families = list(dict.fromkeys(family(run) for run in runs))
    for (name, method), row in sorted(table.items(), key=lambda item: families.index(item[0][0])):
        cells = {n: percent(values) for n, values in row.items()}
        cells |= {n: f"**{cells[n]}**" for n in row if fmean(row[n]) == best[n]}
        lines.append([name, method, *(cells.get(n, "—") for n in columns)])
    head = ["family", "method", *(f"{n:,}" for n in columns)]
    return markdown(head, "ll" + "r" * len(columns), lines)


def differences(runs: Sequence[Run]) -> str:
    """Return what each method gains at 100 labels over each reference, and what that says.

    Gain and the ends of its interval are means over the seeds. `gain`, `loss`: the interval of
    every seed lies on one side of 0; else no verdict is given.
    """
    others = (SCRATCH, START, ONLY, COUNTS)
    lines = []
    for run in runs:
        rows: dict[str, dict[str, str]] = {}
        for name in run.metrics:
            if f"{name}, low" in run.metrics:
                method, other = name.removeprefix(f"{AT} labels: ").split(" minus ")
                rows.setdefault(method, {})[other] = _interval(run, name)
        for method, row in rows.items():
            lines.append([family(run), method, *(row.get(other, "—") for other in others)])
    head = ["family", "method", *(f"minus {other}" for other in others)]
    return markdown(head, "ll" + "r" * len(others), lines)


def _interval(run: Run, name: str) -> str:
    """Return a difference in points, its interval and, where all seeds agree, a verdict."""
    value, low, high = (100 * run.mean(name + end) for end in ("", ", low", ", high"))
    said = ", **gain**" if min(run.metrics[f"{name}, low"]) > 0 else ""
    said = ", **loss**" if max(run.metrics[f"{name}, high"]) < 0 else said
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]{said}"


def curves(source: str, target: str, runs: Sequence[Run]) -> plots.Picture:
    """Draw a pair's learning curves: a panel for each network, after the source and without it.

    NB-SVM on the labels alone stands in each. The bars are standard deviations over the seeds.
    """
    found = ways(runs)
    names = [name for name in dict.fromkeys(map(family, runs)) if name != COUNTS] or [COUNTS]
    drawn, panels = plots.figure(len(names), width=2.4 * len(names) + 1.5)
    ends, columns = [], sorted({n for row in found.values() for n in row})
    for ax, name in zip(panels, names, strict=True):
        ax.set(title=name, xscale="log", xlabel="labels of the target", ylabel="accuracy")
        ax.set_xticks(columns, [f"{n:,}" for n in columns], rotation=60)
        ax.minorticks_off()
        ax.sharey(panels[0])
        ax.label_outer()
        lines = {(name, SCRATCH): SCRATCH, (name, START): START, (name, "full"): "full"}
        for k, (key, label) in enumerate({**lines, (COUNTS, COUNTS): COUNTS}.items()):
            if row := found.get(key):
                means = [fmean(values) for values in row.values()]
                spreads = [stdev(values) if len(values) > 1 else 0.0 for values in row.values()]
                ax.errorbar(
                    list(row), means, yerr=spreads, label=label, color=plots.COLOURS[k],
                    capsize=2, marker=plots.MARKERS[k], linestyle=plots.DASHES[k],
                )  # fmt: skip
                ends.append(f"{name}, {label} from {means[0]:.3f} to {means[-1]:.3f}")
    lines = {
        label: line for ax in panels
        for line, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }  # fmt: skip
    drawn.legend(lines.values(), lines, loc="outside right upper")
    return plots.picture(
        drawn,
        alt=f"Line charts of accuracy by labels: {'; '.join(ends)}.",
        caption=f"From {source} to {target}: accuracy by the number of labels, its mean and its "
        "standard deviation over the seeds.",
    )


def gains(grid: Pairs, name: str) -> dict[tuple[str, str], float]:
    """Return, for one family, what the source gives the target of each pair that has a gain."""
    found = {pair: _gain(run) for pair, runs in grid.items() for run in runs if family(run) == name}
    return {pair: gain for pair, gain in found.items() if not np.isnan(gain)}


def heat(grid: Pairs, name: str) -> plots.Picture:
    """Draw `gains`, source by target."""
    found = gains(grid, name)
    sources = sorted({source for source, _ in found})
    targets = sorted({target for _, target in found})
    table = np.full((len(sources), len(targets)), np.nan)
    for (source, target), gain in found.items():
        table[sources.index(source), targets.index(target)] = gain
    caption = f"{name} with {AT} labels of the target: accuracy gained by the source."
    return plots.heat_maps(
        {"gain": table}, sources, targets, x="target", y="source", caption=caption
    )


def distances(grid: Pairs) -> str:
    """Return the distance of pairs beside what the source gave each family at 100 labels.

    Beside the distance, the share of the target's words that the source has. Pairs whose task is
    another are left out: there the distance of the texts is not the only one. The last rows hold,
    for each family of at least six pairs, the correlation over them of the gain with the distance,
    with that share, and with the accuracy of the family's source model as it is.
    """
    names = list(dict.fromkeys(family(run) for runs in grid.values() for run in runs))
    rows = []
    for pair, runs in grid.items():
        of_family = {family(run): run for run in runs}
        if COUNTS in of_family and ONLY in of_family[COUNTS].metrics:
            there = [of_family.get(name) for name in names]
            gain = [np.nan if run is None else _gain(run) for run in there]
            as_is = [np.nan if run is None else run.mean(ONLY) for run in there]
            known = next((run.mean(KNOWN) for run in runs if KNOWN in run.metrics), np.nan)
            rows.append((of_family[COUNTS].mean("distance"), known, pair, gain, as_is))
    rows.sort()
    lines = []
    for distance, known, pair, gain, _ in rows:
        cells = ("—" if np.isnan(points) else f"{100 * points:+.1f}" for points in gain)
        share = "—" if np.isnan(known) else f"{100 * known:.0f} %"
        lines.append([*pair, f"{distance:.2f}", share, *cells])
    measures = {
        "the distance": lambda row, k: row[0],
        "the words known": lambda row, k: row[1],
        f"the accuracy of *{ONLY}*": lambda row, k: row[4][k],
    }
    for name, of in measures.items():
        cells = []
        for k in range(len(names)):
            there = [(of(row, k), row[3][k]) for row in rows if not np.isnan(row[3][k])]
            cells.append(
                f"{np.corrcoef(np.transpose(there))[0, 1]:+.2f}" if len(there) >= 6 else "—"
            )
        lines.append([f"correlation with {name}", "", "", "", *cells])
    head = ["source", "target", "distance", KNOWN, *names]
    return markdown(head, "ll" + "r" * (2 + len(names)), lines)


def leads(grid: Pairs, *, rival: str = "") -> dict[str, np.ndarray]:
    """Return what each family's source gives beside how far it is ahead of the labels alone.

    Args:
        rival: what has the labels alone; the same start, trained alike, when none is named.
    Returns:
        By family an array `(N, 2)` in points, a row for each pair and amount of labels: the
        source's model as it is minus what has the labels alone; and the gain, what has both minus
        what has the labels alone. Pairs whose classes are others are left out.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for run in (run for runs in grid.values() for run in runs if ONLY in run.metrics):
        both, own = _alike(run)
        if rival:
            both, own = (BOTH if family(run) == COUNTS else "full"), rival
        for n in amounts(run):
            if f"{both}, {n}{LABELS}" in run.metrics:
                new, old = (run.mean(f"{name}, {n}{LABELS}") for name in (both, own))
                row = 100 * (run.mean(ONLY) - old), 100 * (new - old)
                found.setdefault(family(run), []).append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def over_the_better(grid: Pairs, *, rival: str = "") -> str:
    """Return what has both minus the better of source and labels alone, by the lead of `leads`.

    For each family: mean, least, most and number.
    """
    found, lines = leads(grid, rival=rival), []
    for name, (low, high) in LEADS.items():
        some = [rows[(low <= rows[:, 0]) & (rows[:, 0] < high)] for rows in found.values()]
        columns = [[gain - max(lead, 0) for lead, gain in rows] for rows in some]
        lines.append([name, *(_range(points) for points in columns)])
    return markdown(["alone", *found], "l" + "r" * len(found), lines)


def choices(grid: Pairs) -> str:
    """Return what NB-SVM has right if the few labels themselves choose what it learns from.

    It learns from both unless the labels alone are ahead of the source alone by more than 5 points,
    as these labels tell it: in cross-validation, and as texts that the source has not seen. Means
    over pairs and seeds, by the number of labels.
    """
    runs = [run for some in grid.values() for run in some if family(run) == COUNTS]
    lines = []
    for n in sorted({n for run in runs for n in amounts(run)}):
        names = [f"{name}, {n}{LABELS}" for name in (COUNTS, BOTH)]
        names += [f"told by {n}{LABELS}: {name}" for name in (f"{COUNTS}, cross-validated", ONLY)]
        there = [run for run in runs if names[-1] in run.metrics]
        if there:
            shares = np.array([[run.metrics[name] for name in names] for run in there])
            own, both, told, source = 100 * shares.swapaxes(0, 1).reshape(4, -1)
            chosen = np.where(told - source > 5 + 1e-9, own, both)
            means = (f"{row.mean():.1f}" for row in (own, both, chosen, np.maximum(own, both)))
            lines.append([f"{n:,}", str(len(there)), *means])
    head = ["labels", "pairs", "labels alone", "both", "as the labels tell", "better of the two"]
    return markdown(head, "r" * len(head), lines)


def _range(points: Sequence[float]) -> str:
    if not points:
        return "—"
    return f"{fmean(points):+.1f} ({min(points):+.1f} to {max(points):+.1f}; {len(points)})"


def leads_picture(grid: Pairs) -> plots.Picture:
    """Draw `leads`, a point for each family, pair and amount of labels."""
    found = leads(grid)
    points = np.concatenate(list(found.values()))
    ends = np.array([points[:, 0].min(), 0, points[:, 0].max()])
    return plots.scatter(
        points,
        np.repeat(range(len(found)), [len(rows) for rows in found.values()]),
        list(found), lines={"the better alone": np.stack([ends, ends.clip(0)], 1)},
        x="source alone minus labels alone, points",
        y="both minus labels alone, points",
        caption="What a source gives, by how far it is ahead of the target's labels: a point for "
        "each family, pair and number of labels.",
    )  # fmt: skip


def guide(grid: Pairs) -> str:
    """Return the best way for each pair and amount of labels, and its lead over NB-SVM.

    The pairs stand from near to far. The best is chosen on the scored texts themselves, so its
    lead is somewhat too large; at 100 labels it has its interval and verdict.
    """
    lines = []
    far = {
        pair: run.mean("distance") for pair, runs in grid.items() for run in runs
        if "distance" in run.metrics
    }  # fmt: skip
    for pair, runs in sorted(grid.items(), key=lambda item: far.get(item[0], np.inf)):
        table, of_family = ways(runs), {family(run): run for run in runs}
        distance = f"{far[pair]:.2f}" if pair in far else "—"
        for n in sorted({n for row in table.values() for n in row}):
            (name, method), row = max(
                ((way, row) for way, row in table.items() if n in row),
                key=lambda item: fmean(item[1][n]),
            )
            lead, gap = "—", f"{AT} labels: {method} minus {COUNTS}"
            if n == AT and f"{gap}, low" in of_family[name].metrics:
                lead = _interval(of_family[name], gap)
            elif n in table.get((COUNTS, COUNTS), {}):
                lead = f"{100 * (fmean(row[n]) - fmean(table[COUNTS, COUNTS][n])):+.1f}"
            best = name if name == method else f"{name}, {method}"
            lines.append([distance, *pair, f"{n:,}", best, percent(row[n]), lead])
    head = ["distance", "source", "target", "labels", "best mean", "accuracy", "lead over NB-SVM"]
    return markdown(head, "rllrlrr", lines)


def forgotten(grid: Pairs) -> str:
    """Return the points of accuracy on the source that 100 labels of the target have cost.

    `before` is the source's model as it was trained. What is lost is counted from that model with
    the words of both: a word that it never met then has a random vector and not that of `<unk>`.
    """
    methods = list(
        dict.fromkeys(
            name.removeprefix(FORGOTTEN)
            for runs in grid.values()
            for run in runs
            for name in run.metrics
            if name.startswith(FORGOTTEN)
        )
    )
    lines = []
    for pair, runs in grid.items():
        for run in runs:
            if "source accuracy" in run.metrics:
                cells = [
                    percent([0.0 - lost for lost in run.metrics[FORGOTTEN + method]], "+")
                    if FORGOTTEN + method in run.metrics
                    else "—"
                    for method in methods
                ]
                before = percent(run.metrics["source accuracy"])
                lines.append([*pair, family(run), before, *cells])
    head = ["source", "target", "family", "before", *methods]
    return markdown(head, "lll" + "r" * (1 + len(methods)), lines)


def ranks(run: Run) -> str:
    """Return LoRA's accuracy by its rank, with the numbers that were trained."""
    lines = []
    for name, values in run.metrics.items():
        if name.endswith(", accuracy"):
            way = name.removesuffix(", accuracy")
            trained = round(run.mean(f"{way}, trained parameters"))
            gap = _interval(run, f"{way} minus full") if f"{way} minus full" in run.metrics else "—"
            lines.append([way, f"{trained:,}", f"{4 * trained / 1e3:,.0f}", percent(values), gap])
    return markdown(["rank", "trained numbers", "kB", "accuracy", "minus full"], "lrrrr", lines)


def parts(runs: Sequence[Run]) -> str:
    """Return what each way to carry a source over gives beside the first, a row for each run."""
    found = [name.removesuffix(", accuracy") for name in runs[0].metrics if ", acc" in name]
    first, *others = found
    lines = []
    for run in runs:
        cells = [run.hyperparameters["source"], run.data["name"], run.model.partition(",")[0]]
        cells.append(percent(run.metrics[f"{first}, accuracy"]))
        lines.append(cells + [_interval(run, f"{name} minus {first}") for name in others])
    return markdown(["source", "target", "family", *found], "lll" + "r" * len(found), lines)


def _alike(run: Run) -> tuple[str, str]:
    """Return the ways that have the source and the labels, and the labels alone, trained alike.

    NB-SVM is given the source's texts too. The mini-ALBERT starts from its pre-training, else a
    network from random weights, and has the rate and passes of those after the source.
    """
    if family(run) == COUNTS:
        return BOTH, COUNTS
    if any(name.startswith(f"{START}, ") for name in run.metrics):
        return "full", START
    return "full, as from scratch", SCRATCH


def _gain(run: Run) -> float:
    """Return what the source adds to 100 labels, trained alike; NaN if it cannot be added."""
    both, own = (f"{name}, {AT}{LABELS}" for name in _alike(run))
    return run.mean(both) - run.mean(own) if both in run.metrics else np.nan
