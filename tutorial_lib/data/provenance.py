"""Where a data set came from and what is missing from it; travels with the data set.

The record is kept as JSON in `datasets.DatasetInfo.description`, which `select`, `filter`,
`map` and `save_to_disk` preserve, so that a figure or a recorded run made ten cells later
still knows that its data were partial or a stand-in. It describes the set as it was loaded,
not the rows chosen since: `caption_of` counts those. It is lost where two sets are joined, on the
way through pandas, and in an iterable data set.
"""

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datasets


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What a caption or a recorded run must say about its data.

    Attributes:
        name: the catalogue's name, or the user's.
        title: one line for people.
        source: `prepared`, `cache`, `download`, `embedded` or `files`.
        rows: number of rows of each split, as loaded.
        sha256: hash of all labels and texts in order (`fingerprint`).
        partial: what is missing, in words; empty when the set is complete.
        stands_in_for: the set that was asked for and could not be had; empty when this is it.
    """

    name: str
    title: str
    source: str
    rows: dict[str, int]
    sha256: str
    partial: str = ""
    stands_in_for: str = ""

    @property
    def caption(self) -> str:
        """One sentence for a figure's caption."""
        words = f"Data: {self.title} ({self.source})"
        if self.stands_in_for:
            words += f", in place of {self.stands_in_for}, which could not be had here"
        if self.partial:
            words += f"; partial: {self.partial}"
        return words + "."


def fingerprint(splits: "datasets.DatasetDict") -> str:
    """Return the SHA-256 of every split's name, labels and texts in their order."""
    digest = hashlib.sha256()
    for split in sorted(splits):
        digest.update(split.encode())
        for batch in splits[split].select_columns(["label", "text"]).iter(10_000):
            for label, text in zip(batch["label"], batch["text"], strict=True):
                digest.update(f"\0{label}\0{text}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def attach(splits: "datasets.DatasetDict", **facts: str) -> "datasets.DatasetDict":
    """Write a `Provenance` of these facts, with rows and hash counted here, into each split.

    The splits are changed in place, and returned.
    """
    record = Provenance(
        rows={name: len(split) for name, split in splits.items()},
        sha256=fingerprint(splits),
        **facts,
    )
    for split in splits.values():
        split.info.description = json.dumps(dataclasses.asdict(record))
    return splits


def provenance(data: "datasets.Dataset | datasets.DatasetDict") -> Provenance:
    """Return the record that travels with a data set or one of its splits.

    Raises:
        ValueError: the data set did not come from this package's loaders, has lost its record,
            or has no split.
    """
    split = next(iter(data.values()), None) if isinstance(data, dict) else data
    try:
        return Provenance(**json.loads(split.info.description))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError("this data set carries no provenance: load it with data.load") from error


def caption_of(data: "datasets.Dataset | datasets.DatasetDict") -> str:
    """Return the record's sentence, with the number of rows where only a part of them is here.

    A `Dataset` is held against its split; against the whole set where it is of no one split.

    Raises:
        ValueError: as `provenance`.
    """
    record = provenance(data)
    words = [record.caption.removesuffix(".")]
    for split, rows in data.items() if isinstance(data, dict) else [(data.split, data)]:
        whole = record.rows.get(str(split), sum(record.rows.values()))
        if len(rows) < whole:
            of = f" of {split}" if str(split) in record.rows else ""
            words.append(f"{len(rows):,} of {whole:,} rows{of}")
    return "; ".join(words) + "."
