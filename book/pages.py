"""Sphinx extension: fills the generated pages and numbers the chapters by their file names.

A page asks for generated text by a comment line, `<!-- generated: equations -->`, and for a picture
that a notebook draws by `<!-- picture: NOTEBOOK CELL -->`.
"""

import json
import os
import re
from pathlib import Path

from docutils import nodes
from jupyter_cache import get_cache
from sphinx_external_toc.collectors import TocTreeCollectorWithStyles as Collector

from book import equations, leaderboard
from tutorial_lib import results, tables, transfer_tables

ROOT = Path(__file__).resolve().parent.parent
_ASKS = re.compile(r"<!-- generated: (\w+) -->")
_ASKS_PICTURE = re.compile(r"<!-- picture: (\w+) ([\w-]+) -->")


def equations_page(root: Path = ROOT) -> str:
    """Return every labelled equation with the code that computes it and the tests that show it."""
    parts, page = [], ""
    for equation in equations.collect(root)[0]:
        if equation.page != page:
            page = equation.page
            parts.append(f"## [{_title(root, page)}](../{page}.ipynb)")
        computed = ", ".join(f"{{py:obj}}`{code.name}`" for code in equation.code)
        shown = ", ".join(f"`{test}`" for test in equation.tests)
        parts.append(f"{{eq}}`{equation.label}` {computed}\n\n$$\n{equation.latex}\n$$\n")
        parts.append(f"Tests: {shown}")
    return "\n\n".join(parts)


def _title(root: Path, page: str) -> str:
    """Return a notebook's first heading."""
    cells = json.loads((root / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
    return next(line[2:].strip() for line in cells[0]["source"] if line.startswith("# "))


PHENOMENA = "accuracy on true labels: "
PRETRAINED = (
    "[Chapter 7](../notebooks/07_albert.ipynb)'s mini-ALBERT, fine-tuned, beside the same network "
    "with random weights, two models that have no other texts either, and one that has read what "
    "it has: TextCNN on the skip-gram vectors ([chapter 2](../notebooks/02_text.ipynb)) from which "
    "the mini-ALBERT's own training began, and which one core learns in minutes. The two are "
    "within two points of each other on every set, now the one ahead and now the other: what two "
    "hours of guessing hidden words added does not show here. (No time below holds the reading "
    "beforehand, neither the hours nor the minutes.)\n\n"
    "The goals were set before it was trained. That of sst2 is what BERT-mini reaches, which has "
    "more than five times its parameters {cite}`turc2019well` (the next smaller one, BERT-tiny, "
    "has 83.2); with 100 labels it is ten points over *from scratch*.\n\n"
    "What is missing where a goal is missed is, we think, reading and size. It read 16 million "
    "tokens, each seven times, in two hours on two processor cores, and its loss still fell when "
    "it stopped. BERT read texts of 3.3 billion words {cite}`devlin2019bert`. And of a long text "
    "ours sees 128 pieces, where NB-SVM counts all of it. Both can be mended with time alone: "
    "`python -m benchmarks.pretrain_albert` takes more texts, longer rows and a GPU."
)
SPEED = (
    "The book's way against another, one after the other in one process on one machine, with the "
    "same texts and, for ALBERT, the same weights. A step is the same arithmetic on the same "
    "batch, so it compares two programs for one model. An epoch is the whole loop: ours takes "
    "texts of one length together and bfloat16 where the machine has it; the other shuffles, pads "
    "each batch to its longest text and stays in float32, as most tutorials do. How much bfloat16 "
    "gives depends on the processor: those with matrix units for it gain most."
)


def results_page(root: Path = ROOT) -> str:
    """Return a table of the recorded runs of each data set, and the details of every run."""
    by_data: dict[str, list[results.Run]] = {}
    for run in results.read_all(root / "book" / "results"):
        if not run.task.startswith("transfer-"):  # they have a page of their own
            by_data.setdefault(run.data["title"], []).append(run)
    everywhere = [run for some in by_data.values() for run in some]
    if not everywhere:
        return "No run is recorded yet."
    parts = ["## All models, all data sets", _wide(leaderboard.board(everywhere))]
    parts += ["## What pre-training was worth", PRETRAINED]
    parts.append(_wide(leaderboard.pretraining(everywhere)))
    for title, everything in sorted(by_data.items()):
        ablations = [run for run in everything if leaderboard.is_ablation(run)]
        runs = [run for run in everything if run not in ablations]
        parts += [f"## {title}", leaderboard.chart(runs)]
        scored = leaderboard.of_models(runs)
        writing = [run for run in runs if "perplexity" in run.metrics]
        for some, table in ((scored, tables.table), (writing, tables.bounds)):
            if some:
                parts.append(_wide(table(some)))
        parts += [tables.by_labels(run) for run in runs if "by labels" in run.protocol]
        if "ceiling" in runs[0].metrics:
            parts.append(
                f"By phenomenon, scored on the labels before the noise: 100 is possible here, and "
                f"{100 * runs[0].mean('ceiling'):.1f} in the table above.\n\n"
                f"{tables.side_by_side(runs, PHENOMENA)}"
            )
        parts += [tables.ablation(run) for run in ablations]
        parts += [_details(run) for run in everything]
    timed = [run for run in everywhere if any(tables.FASTER in name for name in run.metrics)]
    if timed:
        parts += ["## Speed", SPEED, _wide(tables.speeds(timed))]
    return "\n\n".join(parts)


def _wide(table: str) -> str:
    """Let a table with many columns reach into the margin."""
    return f":::{{div}} full-width\n\n{table}\n\n:::"


def _details(run: results.Run) -> str:
    words = f"{run.model} ({run.task}): every metric, settings, command"
    opening = f'<details id="run-{run.task}"><summary>{words}</summary>'
    return f"{opening}\n\n{tables.details(run)}\n\n</details>"


def transfer_page(root: Path = ROOT) -> str:
    """Return the grid of transfer runs: curves, tables, the matrix, the guide, every run."""
    runs = results.read_all(root / "book" / "results")
    grid = transfer_tables.pairs(runs)
    if not grid:
        return "No run of the grid is recorded yet: `python -m benchmarks.transfer` records them."
    parts = [
        "## What was best, and by how much",
        "From near to far. The best is chosen on the scored texts themselves, so its lead is "
        "somewhat too large.",
        _wide(transfer_tables.guide(grid)),
    ]
    for (source, target), some in grid.items():
        if len(transfer_tables.amounts(some[0])) > 1:
            parts += [
                f"## From {source} to {target}",
                _wide(transfer_tables.curves(source, target, some)._repr_html_()),
                _wide(transfer_tables.by_amount(some)),
            ]
            if any(name.endswith(", macro F1") for name in some[0].metrics):
                parts += ["Macro F1:", _wide(transfer_tables.by_amount(some, ", macro F1"))]
            parts += [
                f"With {transfer_tables.AT} labels, in points, with 95 % intervals:",
                _wide(transfer_tables.differences(some)),
            ]
    families = dict.fromkeys(transfer_tables.family(run) for some in grid.values() for run in some)
    parts.append("## From every domain to every other")
    families = [name for name in families if transfer_tables.gains(grid, name)]
    parts += [transfer_tables.heat(grid, name)._repr_html_() for name in families]
    parts += [
        f"<details><summary>From {source} to {target}: every difference, with its interval"
        f"</summary>\n\n{_wide(transfer_tables.differences(some))}\n\n</details>"
        for (source, target), some in grid.items()
        if len(transfer_tables.amounts(some[0])) == 1
    ]
    if transfer_tables.leads(grid):
        parts += [
            "## The source alone, the labels alone, both",
            transfer_tables.leads_picture(grid)._repr_html_(),
            "What has both, minus the *better* of the two, in points, trained alike: mean (lowest "
            "to highest; number of pairs and amounts of labels).",
            _wide(transfer_tables.over_the_better(grid)),
            f"The same where {transfer_tables.COUNTS} has the labels alone and, of the networks, "
            "*full* has both.",
            _wide(transfer_tables.over_the_better(grid, rival=transfer_tables.COUNTS)),
            "What NB-SVM has right if it learns from both, unless the few labels themselves say "
            "that they are ahead by more than 5 points (in cross-validation, against the source "
            "alone on the same texts); means over pairs and seeds.",
            transfer_tables.choices(grid),
        ]
    parts += ["## Distance and gain", _wide(transfer_tables.distances(grid))]
    parts += ["## What is forgotten", _wide(transfer_tables.forgotten(grid))]
    carried = [run for run in runs if run.task.startswith("transfer-parts-")]
    if carried:
        parts += [
            "## Which part of the source",
            "A TextCNN with 500 labels, with the rate and the passes of *from scratch*. All have "
            "the words of both domains and a new head; the columns say what is the source's. "
            "Nothing: accuracy; the others: points above that.",
            _wide(transfer_tables.parts(carried)),
        ]
    stepped = [run for run in runs if run.task.startswith("transfer-rates-")]
    if stepped:
        parts += [
            "## Rates and passes, one change after the other",
            "With 500 labels, the source's head kept. *Full*, whose rates fall towards the input: "
            "accuracy; the others, each with the changes before it: points above that.",
            _wide(transfer_tables.parts(stepped)),
        ]
    even = [run for run in runs if run.task.startswith("transfer-balanced-")]
    if even:
        parts += [
            "## A source whose classes are of unequal size",
            "NB-SVM with 100 labels of the target. Of the source's praise and blame, seven in ten "
            "are praise; *balanced*: as many of each; *smaller*: as many texts in all as these, in "
            "the old shares. Target: accuracy; the others: points above.",
            _wide(transfer_tables.parts(even)),
        ]
    parts += [
        f"## LoRA by its rank\n\n{transfer_tables.ranks(run)}"
        for run in runs
        if run.task == "transfer-ranks"
    ]
    parts.append("## Every run")
    return "\n\n".join(parts + [_details(r) for r in runs if r.task.startswith("transfer-")])


def api_page(root: Path = ROOT) -> str:
    """Return an automodule directive for every public module of the package."""
    names = []
    for path in (root / "tutorial_lib").rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if not any(part.startswith("_") for part in parts):
            names.append(".".join(parts))
    directive = "## {0}\n\n```{{eval-rst}}\n.. automodule:: {0}\n   :members:\n```"
    return "\n\n".join(directive.format(name) for name in sorted(names))


GENERATED = {
    "equations": equations_page,
    "results": results_page,
    "transfer": transfer_page,
    "api": api_page,
}


def fill(app, docname: str, source: list[str]) -> None:
    """Put generated text where a comment asks for it; make a notebook's text fit the page."""
    if docname.startswith("notebooks/"):
        notebook = json.loads(source[0])
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = from_notebook("".join(cell["source"]))
        source[0] = json.dumps(notebook)
    else:
        text = _ASKS.sub(lambda asks: GENERATED[asks[1]](), source[0])
        cache = Path(app.config.nb_execution_cache_path)
        source[0] = _ASKS_PICTURE.sub(lambda asks: picture(ROOT, cache, asks[1], asks[2]), text)


def picture(root: Path, cache: Path, notebook: str, cell: str) -> str:
    """Return the picture that a cell of a notebook drew when it ran, as HTML.

    Raises:
        LookupError: the notebook has not run, has no such cell, or the cell drew nothing.
    """
    path = root / "notebooks" / f"{notebook}.ipynb"
    _, ran = get_cache(cache).merge_match_into_file(path)
    outputs = [out for one in ran.cells if one.id == cell for out in one.get("outputs", [])]
    for output in outputs:
        found = re.search(r"<img [^>]*>", "".join(output.get("data", {}).get("text/html", "")))
        if found:
            return found[0]
    raise LookupError(f"cell {cell} of {path.name} drew no picture")


_BOX = re.compile(
    r'<div class="admonition (\w+)">\s*<p class="title">(.*?)</p>\s*(.*?)\s*</div>', re.DOTALL
)


def from_notebook(text: str) -> str:
    """Turn what Jupyter and Colab show well, and Sphinx does not, into what it does.

    A box whose text is Markdown becomes a directive; the Colab badge, a picture from outside,
    becomes words.
    """
    text = re.sub(r"!\[([^\]]*)\]\(https://colab\.[^)]*\)", r"\1", text)
    return _BOX.sub(r":::::{admonition} \2\n:class: \1\n\n\3\n:::::", text)


def from_markdown(app, what, name, obj, options, lines: list[str]) -> None:
    """Turn what our docstrings hold of Markdown into the markup that Sphinx reads in them.

    Link the equations that they name, take `*`, `|` and a final `_` as they stand, and show an
    indented block after a colon as code.
    """
    code_below = None  # the indent below which lines are code
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if code_below is not None and (indent > code_below or not line):
            continue
        opens = line.endswith(":") and lines[index + 1 : index + 2] == [""]
        code_below = indent if opens else None
        if re.match(r"\s*Equations?:", line):
            line = re.sub(r"\b(eq-[a-z0-9-]+)", r":eq:`\1`", line)
        outside_code = re.compile(r"(`+[^`]*`+)|([*|]|_(?!\w))")
        line = outside_code.sub(lambda found: found[1] or "\\" + found[2], line)
        lines[index] = f"{line}:" if opens else line


def number_by_file(assign):
    """Give each chapter the number in its file's name, so that none changes when one is added."""

    def assign_section_numbers(self, env) -> list[str]:
        rewritten = assign(self, env)
        for page, numbers in env.toc_secnumbers.items():
            named = re.match(r"notebooks/(\d+)_", page)
            if named:
                chapter = int(named[1])
                for anchor, number in numbers.items():
                    numbers[anchor] = (chapter, *number[1:]) if number else number
                for entry in [env.titles[page], *env.tocs[page].findall(nodes.reference)]:
                    if entry.get("secnumber"):
                        entry["secnumber"] = [chapter, *entry["secnumber"][1:]]
        return rewritten

    return assign_section_numbers


def without_thebe(app, page, template, context, doctree) -> None:
    """Leave out the scripts of an extension that no page uses; they name an outside address."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes.get('body')}"
    ]


def use_cache(app, config) -> None:
    """Take the notebooks' outputs from the folder that the build filled."""
    config.nb_execution_cache_path = os.environ.get("BOOK_CACHE", config.nb_execution_cache_path)


def setup(app) -> dict[str, bool]:
    app.connect("config-inited", use_cache)
    Collector.assign_section_numbers = number_by_file(Collector.assign_section_numbers)
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", from_markdown, priority=400)  # before napoleon
    app.connect("html-page-context", without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
