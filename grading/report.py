"""The report that a student gets: what was reached, and for the rest which property failed."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from grading import notebooks

if TYPE_CHECKING:
    from grading.grade import Graded

PAGE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}: {{ student }}</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem;
         color: #1b1b1b; background: #fff }
  h2 { margin: 2rem 0 .5rem; font-size: 1.15rem }
  li { margin: .4rem 0 }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f3f3f1; padding: .6rem;
        border-left: 4px solid #a33; margin: .3rem 0 }
  blockquote { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 4px solid #557;
               margin: 0; padding: .2rem .8rem }
</style>
<h1>{{ title }}</h1>
<p>{{ student }} · <strong>{{ "%g" % points }} of {{ of }} points</strong>
{%- if waiting %}, {{ waiting }} of them still to be given by a reader{% endif %}</p>
{% if note %}<pre>{{ note }}</pre>{% endif %}
{% for question in questions %}
<h2>{{ question.question }}: {{ "%g" % question.points }} of {{ question.of }}
{%- if question.waiting %}, not yet read{% endif %}</h2>
<ul>
{% for mark in question.marks %}
<li>{{ mark.test }}: {{ mark.points }} of {{ mark.of }}
{%- if mark.points == mark.of %}, passed{% if mark.why %}: {{ mark.why }}{% endif %}
{%- else %}<pre>{{ mark.why }}</pre>{% endif %}</li>
{% endfor %}
</ul>
{% if question.by_hand %}<blockquote>{{ question.text or "(no text)" }}</blockquote>{% endif %}
{% if question.comment %}<p>{{ question.comment }}</p>{% endif %}
{% endfor %}
</html>
"""
)


def total(one: "Graded", hand: dict | None = None) -> tuple[float, int, int]:
    """Return a notebook's points, out of how many, and how many still wait for a person."""
    rows = _rows(one, hand or {})
    return (
        sum(row["points"] for row in rows),
        sum(row["of"] for row in rows),
        sum(row["by_hand"] for row in rows if row["waiting"]),
    )


def write(out: Path, one: "Graded", hand: dict) -> None:
    """Write a student's report, named after the notebook."""
    points, of, waiting = total(one, hand)
    title = notebooks.load(one.assignment).title if one.assignment else "Not an assignment"
    page = PAGE.render(
        title=title, student=one.student, note=one.note, points=points, of=of, waiting=waiting,
        questions=[row for row in _rows(one, hand) if row["of"]],
    )  # fmt: skip
    page = page.encode(errors="backslashreplace")
    (out / f"{page_name(one.submission)}.html").write_bytes(page)


def page_name(submission: str) -> str:
    """Return the name of a submission's page, which no other submission has."""
    name = printable(submission).removesuffix(".ipynb").replace("/", "__")
    if len(name) > 60 or name.count("__") != submission.count("/"):
        name = f"{name[:60]}-{hashlib.sha256(os.fsencode(submission)).hexdigest()[:8]}"
    return name


def plain_cell(text: str) -> str:
    """Return a student's text so that every file can hold it and no spreadsheet computes it."""
    text = " ".join(printable(text).split())[:200]
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def printable(text: str) -> str:
    """Return a text with what is no character written out."""
    return text.encode(errors="backslashreplace").decode()


def _rows(one: "Graded", hand: dict) -> list[dict]:
    rows = []
    for question in one.questions:
        typed = hand.get((plain_cell(one.submission), question["question"]), {})
        given = typed.get("points", "").strip()
        rows.append({
            **question,
            "points": sum(mark["points"] for mark in question["marks"]) + float(given or 0),
            "of": sum(mark["of"] for mark in question["marks"]) + question["by_hand"],
            "waiting": bool(question["by_hand"]) and not given,
            "comment": typed.get("comment", ""),
        })  # fmt: skip
    return rows
