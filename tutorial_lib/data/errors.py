"""The two errors of the data package."""


class DataError(ValueError):
    """The data, or what was asked of it, is wrong; the message says what and what to do."""


class DatasetUnavailable(RuntimeError):
    """A data set could be had from no place; the message names each place and its failure.

    Attributes:
        name: the data set's name.
        tried: one line for each place: where, and why it failed.
    """

    def __init__(self, name: str, tried: list[str]) -> None:
        self.name = name
        self.tried = tried
        super().__init__(
            f"the data set {name!r} could not be had. Tried:\n"
            + "\n".join(f"  - {line}" for line in tried)
            + "\nConnect to the network, set TUTORIAL_DATA to a folder that holds a prepared copy, "
            'or ask for an embedded stand-in with offline="reviews" or offline="pydoc".'
        )
