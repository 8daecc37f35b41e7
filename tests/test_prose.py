"""Names are written in one way, everywhere; codespell, in `make test`, looks at all other words."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = {
    "PyTorch": r"py ?torch",
    "NumPy": r"num ?py",
    "SciPy": r"sci ?py",
    "scikit-learn": r"scikit[ -]learn|sci-?kit learn",
    "Hugging Face": r"hugging ?face",
    "GitHub": r"git ?hub",
    "Jupyter": r"jupyter",
    "Colab": r"colab",
    "NB-SVM": r"nb[ -]?svm",
    "TextCNN": r"text[ -]?cnn",
    "word2vec": r"word ?2 ?vec",
    "BERT": r"bert",
    "ALBERT": r"albert",
    "ELBO": r"elbo",
    "LSTM": r"lstm",
    "TF-IDF": r"tf[ -]?idf",
    "Chromium": r"chromium",
}
STARTS_A_SENTENCE = {"scikit-learn": "Scikit-learn", "word2vec": "Word2vec"}
NOT_PROSE = re.compile(
    r"^```.*?^```|^:::|`[^`]*`|\]\([^)]*\)|\{[\w-]+\}|https?://\S+|<[^>]*>|\$[^$]*\$",
    re.DOTALL | re.MULTILINE,
)


def prose(path: Path) -> str:
    """The text of a page without code, formulas, addresses and the titles of cited works."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    text = re.sub(r"\[[^\]]*\]\(http[^)]*\)", "", text)
    return NOT_PROSE.sub(" ", text)


def wrong(text: str) -> list[str]:
    found = []
    for name, loose in NAMES.items():
        for use in re.findall(rf"(?<![\w./-])(?:{loose})(?![\w./]*\w)", text, re.IGNORECASE):
            if use not in (name, STARTS_A_SENTENCE.get(name)):
                found.append(f"{use}: write {name}")
    return found


@pytest.mark.parametrize(
    "path",
    [
        ROOT / "README.md",
        *sorted(ROOT.glob("book/*.md")),
        *sorted(ROOT.glob("notebooks/**/*.ipynb")),
    ],
    ids=lambda path: path.name,
)
def test_names_are_written_in_one_way(path):
    assert wrong(prose(path)) == []


@pytest.mark.parametrize(
    "text", ["Pytorch", "in the NBSVM row", "a Text CNN.", "Huggingface", "Numpy"]
)
def test_another_way_is_found(text):
    assert len(wrong(text)) == 1
