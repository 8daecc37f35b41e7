"""Text classification with neural networks: the tested code under the book.

Each chapter's ideas are in the module of the same name (`softmax`, `baselines`, …); `data`,
`training`, `evaluation`, `results`, `plots` and `runtime` serve all of them.
"""

__version__ = "0.1.0"
