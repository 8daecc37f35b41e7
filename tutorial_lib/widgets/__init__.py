"""Small interactive figures, one module each; `show` of a module returns its figure.

`temperature` and `confidence` are of chapter 01, `sliding` of 04, `attention` of 06, `sizes` of
07, `elbo` of 08. They work on a page without kernel and network; `frame` holds what they share.
"""

from tutorial_lib.widgets import attention, confidence, elbo, sizes, sliding, temperature

__all__ = ["attention", "confidence", "elbo", "sizes", "sliding", "temperature"]
