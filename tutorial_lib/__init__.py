"""Text classification with neural networks: the tested code under the book.

Each chapter's ideas are in the module of the same name (`softmax`, `baselines`, …); `data`,
`training`, `evaluation`, `results`, `plots` and `runtime` serve all of them.
"""

import warnings

# Notebook front ends without ipywidgets warn at each import of a library that draws its bars
# with tqdm.auto; the bars are then plain text, as ours always are.
warnings.filterwarnings("ignore", message="IProgress not found")

__version__ = "0.1.0"
