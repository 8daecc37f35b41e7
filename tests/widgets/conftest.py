"""One figure of each kind, and pages that hold them."""

import numpy as np
import pytest
import torch

from tutorial_lib import widgets

NASTY = "</script><b>&amp;\"'"
LOGITS = {"place": 2.0, "thing": 1.0, "person": 0.2, NASTY: -1.0}
VARIANCES = [16.0, 8.0, 4.0, 2.0, 1.2, 0.5]
TOKENS = ["<pad>", "not", NASTY, "bad", "at", "all", "<pad>"]
ANSWERS = np.array([[0.5, 0.25, -1.0, 2.0, 0.0, 1.5], [-3.0, -2.0, -1.0, -4.0, -5.0, -6.0]])
WEIGHTS = torch.randn(2, 7, 7, generator=torch.manual_seed(0)).mul(2).softmax(-1).numpy()

FIGURES = {
    "temperature": widgets.temperature.show(LOGITS),
    "confidence": widgets.confidence.show(),
    "sliding": widgets.sliding.show(
        TOKENS, ANSWERS, width=2, names=["praise", NASTY], caption=f"Filters {NASTY}."
    ),
    "attention": widgets.attention.show(TOKENS, WEIGHTS, caption=f"A map {NASTY}."),
    "sizes": widgets.sizes.show(),
    "elbo": widgets.elbo.show(VARIANCES),
}


@pytest.fixture(params=FIGURES)
def kind(request) -> str:
    return request.param


@pytest.fixture
def shown(browser, tmp_path):
    """A function that opens a page with some figures; at the end nothing may have gone wrong."""
    contexts, wrong = [], []

    def open_page(*kinds, dark=False, width=800, **options):
        figures = "".join(FIGURES[kind].source for kind in kinds)
        colours = "background:#121212;color:#eee" if dark else "background:#fff;color:#111"
        file = tmp_path / f"page{len(contexts)}.html"
        file.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures</title>'
            '<meta name="viewport" content="width=device-width">'
            f'<body style="{colours}"><main><h1>Figures</h1>{figures}</main></body></html>',
            encoding="utf-8",
        )
        context = browser.new_context(viewport={"width": width, "height": 700}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: wrong.append(request.url) if request.url != file.as_uri()
                else None)  # fmt: skip
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
