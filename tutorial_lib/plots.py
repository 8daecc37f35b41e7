"""One style for every figure, and the figures that recur.

A figure leaves here as a `Picture`: HTML that carries the image, its alternative text and its
caption, and reads the same in Jupyter, VS Code, Colab and the rendered page. The caption says
where the data came from, and that they are partial or a stand-in when they are.

Colours are Okabe and Ito's, safe for colour-blind readers; lines differ by dashes and markers
too, so that no meaning hangs on colour alone.
"""

import base64
import dataclasses
import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from tutorial_lib.data.provenance import caption_of
from tutorial_lib.evaluation import Interval

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#000000", "#cc79a7", "#56b4e9", "#e69f00")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE = {
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "savefig.dpi": 120,
    "text.parse_math": False,  # a "$" in a text is a dollar
}

Data = "datasets.Dataset | datasets.DatasetDict | None"


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image with its alternative text and caption.

    Raises:
        ValueError: no alternative text.
    """

    png: bytes
    alt: str
    caption: str

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError("a picture needs alternative text: say what it shows in a sentence")

    def __repr__(self) -> str:
        return f"[Figure: {self.alt}]"

    def _repr_html_(self) -> str:
        source = base64.b64encode(self.png).decode()
        return (
            f'<figure class="tl-figure"><img alt="{html.escape(self.alt)}" '
            f'src="data:image/png;base64,{source}" style="max-width:100%">'
            f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        )


@dataclasses.dataclass(frozen=True)
class Html:
    """A piece of HTML that a notebook shows, with a plain-text form for everything else."""

    source: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.source


def figure(
    columns: int = 1, *, height: float = 3.2, width: float = 7.0
) -> tuple["matplotlib.figure.Figure", "list[matplotlib.axes.Axes]"]:
    """Return an empty figure in the book's style and its axes, side by side; sizes in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(STYLE)
    matplotlib.rcParams["axes.prop_cycle"] = matplotlib.cycler(color=COLOURS)
    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, list(drawn.subplots(1, columns, squeeze=False)[0])


def picture(
    drawn: "matplotlib.figure.Figure", *, alt: str, caption: str, data: Data = None
) -> Picture:
    """Return a finished figure as a `Picture`; `data` adds its provenance to the caption."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", metadata={"Software": None})
    source = f" {caption_of(data)}" if data is not None else ""
    return Picture(buffer.getvalue(), alt, caption + source)


def learning_curves(
    curves: Mapping[str, Sequence[float]],
    *,
    caption: str,
    at: Sequence[int] | None = None,
    x: str = "step",
    y: str = "loss",
    data: Data = None,
) -> Picture:
    """Draw one line a name over its index, or over the places `at`, each with a tick.

    Raises:
        ValueError: a line has not one value a place.
    """
    drawn, (ax,) = figure()
    if at is not None:
        ax.set_xticks(at)
    for k, (name, values) in enumerate(curves.items()):
        gap = max(1, len(values) // 8)
        ax.plot(
            np.arange(len(values)) if at is None else at,
            values,
            DASHES[k % 4],
            marker=MARKERS[k % 7],
            markevery=(k, gap),
            label=name,
        )
    ax.set(xlabel=x, ylabel=y)
    ax.legend()
    ends = "; ".join(f"{n} goes from {v[0]:.3g} to {v[-1]:.3g}" for n, v in curves.items())
    return picture(drawn, alt=f"Line chart of {y} by {x}: {ends}.", caption=caption, data=data)


def confusion(
    matrix: np.ndarray, classes: Sequence[str], *, caption: str, data: Data = None
) -> Picture:
    """Draw a confusion matrix: counts as text, the share of the true class as shade.

    Raises:
        ValueError: the matrix is not one row and one column a class.
    """
    if matrix.shape != (len(classes), len(classes)):
        raise ValueError(f"a matrix of shape {matrix.shape} does not fit {len(classes)} classes")
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    size = max(3.0, 0.62 * len(classes) + 1.4)
    drawn, (ax,) = figure(height=size, width=size + 1.2)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        dark = "white" if share[row, column] > 0.55 else "black"
        ax.text(column, row, f"{count:,}", ha="center", va="center", color=dark)
    ticks = range(len(classes))
    ax.set_xticks(ticks, classes, rotation=45, ha="right")
    ax.set_yticks(ticks, classes)
    ax.set(xlabel="predicted", ylabel="true")
    ax.grid(False)
    wrong = matrix - np.diag(np.diag(matrix))
    true, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    right = f"{np.trace(matrix):,} of {matrix.sum():,} right"
    alt = f"Confusion matrix of {len(classes)} classes: {right}."
    if wrong.any():
        alt += (
            f" Most frequent error: {classes[true]} taken for {classes[predicted]}, "
            f"{wrong.max():,} times."
        )
    return picture(drawn, alt=alt, caption=caption, data=data)


def comparison(
    rows: Mapping[str, Interval | Mapping[str, Interval]],
    *,
    caption: str,
    metric: str = "accuracy",
    lines: Mapping[str, float] | None = None,
    data: Data = None,
) -> Picture:
    """Draw values with their intervals, one row each, the first on top.

    Args:
        rows: an interval for each row, or one for each series (such as a model) in it.
        lines: values to mark across all rows, such as chance or the best possible.
    """
    table = {name: {"": row} if isinstance(row, Interval) else row for name, row in rows.items()}
    series = list(dict.fromkeys(name for row in table.values() for name in row))
    drawn, (ax,) = figure(height=0.9 + (0.26 + 0.12 * len(series)) * len(table))
    step = min(0.3, 0.8 / len(series))  # a row keeps clear of its neighbours
    for k, name in enumerate(series):
        shift = step * (k - (len(series) - 1) / 2)
        place = [r + shift for r, row in enumerate(table.values()) if name in row]
        value, low, high = np.array([row[name] for row in table.values() if name in row]).T
        ax.errorbar(
            value, place, xerr=np.maximum([value - low, high - value], 0), fmt=MARKERS[k % 7],
            color=COLOURS[k % 7], capsize=3, label=name or None,
        )  # fmt: skip
    for k, (name, value) in enumerate((lines or {}).items()):
        ax.axvline(value, linestyle=DASHES[1 + k % 3], color=COLOURS[3 + k % 4], label=name)
    ax.set_yticks(range(len(table)), list(table))
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set(xlabel=metric)
    if lines or len(series) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    values = "; ".join(
        f"{row} {name} {v.value:.3f} ({v.low:.3f} to {v.high:.3f})".replace("  ", " ")
        for row, cells in table.items()
        for name, v in cells.items()
    )
    marks = "".join(f"; {n} at {v:.3f}" for n, v in (lines or {}).items())
    alt = f"Dot chart of {metric} with intervals: {values}{marks}."
    return picture(drawn, alt=alt, caption=caption, data=data)


def amounts(
    curves: Mapping[str, Mapping[int, Interval]],
    *,
    caption: str,
    x: str,
    metric: str = "accuracy",
    lines: Mapping[str, float] | None = None,
    data: Data = None,
) -> Picture:
    """Draw values with their intervals by an amount, such as that of labels: a line for each name.

    The axis of amounts is logarithmic; points of one amount stand side by side to be told apart.

    Args:
        lines: values that do not depend on the amount.
    """
    drawn, (ax,) = figure(height=3.8)
    ax.set(xscale="log", xlabel=x, ylabel=metric)
    for k, (name, row) in enumerate(curves.items()):
        value, low, high = np.array(list(row.values())).T
        ax.errorbar(
            np.array(list(row)) * 1.04 ** (k - (len(curves) - 1) / 2), value,
            yerr=np.maximum([value - low, high - value], 0), color=COLOURS[k % 7], capsize=3,
            marker=MARKERS[k % 7], linestyle=DASHES[k % 4], label=name,
        )  # fmt: skip
    for k, (name, value) in enumerate((lines or {}).items(), len(curves)):
        ax.axhline(value, linestyle=DASHES[k % 4], color=COLOURS[k % 7], label=name)
    places = sorted({amount for row in curves.values() for amount in row})
    ax.set_xticks(places, [f"{amount:,}" for amount in places])
    ax.minorticks_off()
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    values = "; ".join(
        f"{name} with {amount:,} {v.value:.3f} ({v.low:.3f} to {v.high:.3f})"
        for name, row in curves.items()
        for amount, v in row.items()
    )
    marks = "".join(f"; {n} at {v:.3f}" for n, v in (lines or {}).items())
    alt = f"Line chart of {metric} by {x} with intervals: {values}{marks}."
    return picture(drawn, alt=alt, caption=caption, data=data)


def bars(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    caption: str,
    x: str,
    data: Data = None,
) -> Picture:
    """Draw one horizontal bar for each label and series, the first label on top."""
    drawn, (ax,) = figure(height=0.8 + 0.26 * len(labels))
    thick = 0.8 / len(series)
    for k, (name, values) in enumerate(series.items()):
        place = np.arange(len(labels)) + k * thick
        ax.barh(
            place, values, thick, color=COLOURS[k % 7], hatch=("", "//", "..")[k % 3], label=name
        )
    ax.set_yticks(np.arange(len(labels)) + 0.4 - thick / 2, labels)
    ax.invert_yaxis()
    ax.set(xlabel=x)
    ax.legend()
    rows = "; ".join(
        f"{label} " + ", ".join(f"{name} {values[k]:.3g}" for name, values in series.items())
        for k, label in enumerate(labels)
    )
    return picture(drawn, alt=f"Bar chart of {x}: {rows}.", caption=caption, data=data)


def heat_maps(
    maps: Mapping[str, Float[np.ndarray, "R C"]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    caption: str,
    x: str,
    y: str,
    data: Data = None,
) -> Picture:
    """Draw tables of numbers side by side, in one scale; a cell that is NaN stays empty.

    If there are numbers below 0, it is white; those above are purple, those below brown.

    Raises:
        ValueError: a table that does not fit the rows and columns.
    """
    everything = np.stack(list(maps.values()))
    if everything.shape[1:] != (len(rows), len(columns)):
        shape = everything.shape[1:]
        raise ValueError(f"tables of {shape} do not fit {len(rows)} rows, {len(columns)} columns")
    width = 0.6 + 0.1 * max(map(len, rows)) + 0.62 * len(columns)  # with room for the names
    height = 0.9 + 0.08 * max(map(len, columns)) + 0.5 * len(rows)
    drawn, axes = figure(len(maps), height=height, width=len(maps) * width)
    low, high = np.nanmin(everything), np.nanmax(everything)
    colours, dark = "Blues", low + 0.6 * (high - low)
    if low < 0:
        high = max(-low, high)
        low, colours, dark = -high, "PuOr", 0.6 * high
    parts = []
    for ax, (title, values) in zip(axes, maps.items(), strict=True):
        ax.imshow(values, cmap=colours, vmin=low, vmax=high)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                ink = "white" if (abs(value) if low < 0 else value) > dark else "black"
                ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink)
        ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        ax.set_yticks(range(len(rows)), rows)
        ax.set(title=title, xlabel=x, ylabel=y)
        ax.grid(False)
        ends = [
            f"{word} {rows[k // len(columns)]}, {columns[k % len(columns)]} {values.flat[k]:.2f}"
            for word, k in (("highest", np.nanargmax(values)), ("lowest", np.nanargmin(values)))
        ]
        parts.append(f"{title}: {'; '.join(ends)}")
    alt = f"Heat map of {y} by {x}. {'. '.join(parts)}."
    return picture(drawn, alt=alt, caption=caption, data=data)


def scatter(
    points: Float[np.ndarray, "N 2"],
    labels: Int[np.ndarray, "N"],
    classes: Sequence[str],
    *,
    caption: str,
    x: str = "first direction",
    y: str = "second direction",
    names: Sequence[str] | None = None,
    lines: Mapping[str, Float[np.ndarray, "_ 2"]] | None = None,
    data: Data = None,
) -> Picture:
    """Draw points in the plane with a marker and a colour for each class.

    Args:
        lines: to draw behind them, each through its corners.
        names: of the points, written on the side away from the middle of the class, and higher up
            where one would cover another.

    Raises:
        ValueError: a label without a class, or a point without a name.
    """
    if names is not None and len(names) != len(points):
        raise ValueError(f"{len(points)} points need as many names; got {len(names)}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels run from 0 to {len(classes) - 1}; got {np.unique(labels)}")
    drawn, (ax,) = figure(height=4.2)
    middles = []
    for k, (name, corners) in enumerate((lines or {}).items()):
        ax.plot(*corners.T, linestyle=DASHES[1 + k % 3], color="0.4", label=name)
    for c, name in enumerate(classes):
        of_class = points[labels == c]
        colour = COLOURS[c % 7]
        inside = colour if c < 7 else "none"  # from the eighth on, hollow
        ax.scatter(
            *of_class.T, s=16, marker=MARKERS[c % 7], facecolors=inside, edgecolors=colour,
            label=name,
        )  # fmt: skip
        if len(of_class):
            there = "" if names is None else ": " + ", ".join(np.array(names)[labels == c])
            middle = "({:.2g}, {:.2g})".format(*of_class.mean(0))
            middles.append(f"{name} around {middle}{there}")
    ax.set(xlabel=x, ylabel=y)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    if names is not None:
        ax.margins(x=0.2)
        drawn.draw_without_rendering()  # now it is known where a name will stand
        taken, up = [], np.ptp(ax.get_ylim()) / 100
        for n in np.argsort(points[:, 1], kind="stable"):
            (left, height), middle = points[n], points[labels == labels[n], 0].mean()
            written = ax.text(
                left, height, f"  {names[n]}  ", ha="left" if left > middle else "right",
                va="center", fontsize=9, in_layout=False,
            )  # fmt: skip
            while any(written.get_window_extent().overlaps(box) for box in taken):
                written.set_y(height := height + up)
            taken.append(written.get_window_extent())
    middles += [f"a line, {name}" for name in lines or {}]
    alt = f"Scatter plot of {len(points)} points by class: {'; '.join(middles)}."
    return picture(drawn, alt=alt, caption=caption, data=data)


def token_heat(
    tokens: Sequence[str], scores: Sequence[float], *, caption: str, data: Data = None
) -> Html:
    """Show each token shaded by its score; the text is escaped.

    Positive scores are orange with a solid line below, negative ones blue with a dotted line.
    Shades are relative to the largest absolute score.

    Raises:
        ValueError: the number of scores is not that of the tokens, or a score is not finite.
    """
    scores = np.asarray(scores, float)
    if scores.shape != (len(tokens),) or not np.isfinite(scores).all():
        raise ValueError(f"{len(tokens)} tokens need as many finite scores; got {scores}")
    top = np.abs(scores).max(initial=0) or 1.0
    spans = []
    for token, score in zip(tokens, scores, strict=True):
        colour, line = ("230,159,0", "solid") if score > 0 else ("86,180,233", "dotted")
        below = f"border-bottom:2px {line} rgb({colour});" if score else ""
        spans.append(
            f'<span style="background:rgba({colour},{abs(score) / top:.2f});{below}'
            f'padding:1px 3px" title="{score:+.3f}">{html.escape(token)}</span>'
        )
    order = np.argsort(-np.abs(scores), kind="stable")[:3]
    strongest = ", ".join(f"{tokens[k]} {scores[k]:+.2f}" for k in order)
    body = " ".join(spans)
    caption = f"{caption} Strongest: {strongest}."
    if data is not None:
        caption += f" {caption_of(data)}"
    return Html(
        f'<figure class="tl-figure"><div class="tl-heat" style="line-height:2">{body}</div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>",
        f"[Tokens: {caption}]",
    )
