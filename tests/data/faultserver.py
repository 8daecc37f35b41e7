"""A web server on loopback that fails as it is told to, and a toy data set to load from it."""

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

from tutorial_lib.data import catalogue, download
from tutorial_lib.data.catalogue import Entry, File
from tutorial_lib.data.parse import PARSERS
from tutorial_lib.data.rows import Rows

# 3,000 lines of random-looking text: long enough to be cut in its middle.
WORDS = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(3000)]
TOY = "".join(f"{n % 2}\t{word} {word[::-1]}\n" for n, word in enumerate(WORDS)).encode()
TOY_URL = "https://example.org/pinned/toy.tsv"


class FaultServer(ThreadingHTTPServer):
    """Serves `files` by path. Each request first consumes a fault from `faults`, if any is left.

    A fault is a status to answer with, or `cut` (the connection ends in the middle of the
    body), `short` (the same, but the length was not announced), `wrong` (other bytes of the
    same length), `lengths` (one header gives the length twice), `hang` (no answer until
    `release` is set).
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: list[str | int] = []
        self.requests: list[tuple[str, str | None]] = []  # path, Range header
        self.encodings: list[str | None] = []  # Accept-Encoding header of each request
        self.ranges = True
        self.release = threading.Event()
        self.reached = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.requests.append((self.path, self.headers.get("Range")))
        server.encodings.append(self.headers.get("Accept-Encoding"))
        fault = server.faults.pop(0) if server.faults else None
        server.reached.set()
        if fault == "hang":
            server.release.wait(60)
            return
        if isinstance(fault, int) or self.path not in server.files:
            self.send_error(fault or 404)
            return
        body, first = server.files[self.path], 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and server.ranges:
            first = int(asked[1])
            if first >= len(body):
                self.send_error(416)
                return
        self._send(body, first, fault)

    def _send(self, body, first, fault):
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        body = body[first:]
        if fault != "short":
            twice = f", {len(body)}" if fault == "lengths" else ""
            self.send_header("Content-Length", f"{len(body)}{twice}")
        self.end_headers()
        if fault == "wrong":
            body = bytes(byte ^ 1 for byte in body)
        self.wfile.write(body[: len(body) // 2] if fault in ("cut", "short", "stall") else body)
        if fault == "stall":
            self.wfile.flush()
            self.server.release.wait(60)


@contextlib.contextmanager
def serving() -> Iterator[FaultServer]:
    server = FaultServer()
    server.files["/pinned/toy.tsv"] = TOY
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()


def parse_toy(files) -> dict[str, Rows]:
    lines = files["toy.tsv"].read_text().splitlines()
    return {"full": Rows([line[2:] for line in lines], [int(line[0]) for line in lines])}


def toy_file(**facts) -> File:
    return File(TOY_URL, **(facts or {"sha256": hashlib.sha256(TOY).hexdigest()}))


def toy_entry(*files: File) -> Entry:
    return Entry(
        name="toy",
        title="a toy set",
        task="parity",
        language="none",
        classes=("even", "odd"),
        splits={"full": (1500, 1500)},
        citation="",
        link="",
        terms="",
        quirks=(),
        files=files or (toy_file(),),
    )


@contextlib.contextmanager
def toy_catalogue(entry: Entry | None = None) -> Iterator[None]:
    """Make `toy` the only data set, and let a server's failures be met quickly."""
    with (
        mock.patch.object(catalogue, "_entries", lambda: {"toy": entry or toy_entry()}),
        mock.patch.dict(PARSERS, toy=parse_toy),
        mock.patch.object(download, "PAUSES", (0.01, 0.01, 0.01)),
        mock.patch.object(download, "READ_SECONDS", 0.5),
        mock.patch.dict(download._unreachable, clear=True),
    ):
        yield
