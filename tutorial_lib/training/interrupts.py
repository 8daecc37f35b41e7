"""Ctrl-C that never tears an update in two."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """While entered, holds Ctrl-C back inside `held`; a second Ctrl-C there goes through.

    Attributes:
        torn: whether a held part was left unfinished, so that the weights may be half updated.
    """

    def __init__(self) -> None:
        self.holding = self.pending = self.torn = False
        # Python runs signal handlers in the main thread, and lets only it set them. Where Ctrl-C is
        # ignored, or a host program's affair, there is no handler of Python's.
        self.active = threading.current_thread() is threading.main_thread() and callable(
            signal.getsignal(signal.SIGINT)
        )

    def __enter__(self) -> "Interrupts":
        if self.active:
            self.previous = signal.signal(signal.SIGINT, self._arrived)
        return self

    def __exit__(self, *error: object) -> None:
        if self.active:
            signal.signal(signal.SIGINT, self.previous)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if not self.holding or self.pending:
            raise KeyboardInterrupt
        self.pending = True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Finish what is inside before a KeyboardInterrupt is raised."""
        self.holding, self.torn = True, True
        yield
        self.torn, self.holding = False, False
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt
