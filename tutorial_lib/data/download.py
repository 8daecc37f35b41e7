"""Fetch original files: verified by hash, continued where they broke off, with progress.

pooch checks the hash and puts the file in place by a rename. The transfer is ours, because
pooch begins again from nothing where a server would let it go on.
"""

import contextlib
import dataclasses
import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tutorial_lib.data.catalogue import File
from tutorial_lib.data.errors import DataError

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 5
READ_SECONDS = 20
PAUSES = (0.5, 1.0, 2.0)  # seconds before the second, third and fourth try

CHUNK = 1 << 14  # bytes; less than that is lost of a body that breaks off

_unreachable: dict[str, str] = {}  # server: why this process does not try it again


class FetchError(Exception):
    """A file could not be had; the message says from where and why."""


class _Interrupted(Exception):
    """The transfer failed in a way that may pass: worth another try."""


def forget_failures() -> None:
    """Try again the servers that this process could not reach."""
    _unreachable.clear()


def address(file: File) -> str:
    """Return where to get a file: its pinned address, or the same path on `TUTORIAL_MIRROR`.

    A mirror (`http://192.168.0.5:8000`) helps a classroom behind one slow line. What it serves
    is held to the same hashes.

    Raises:
        DataError: `TUTORIAL_MIRROR` is not an address.
    """
    mirror = os.environ.get("TUTORIAL_MIRROR")
    try:
        urlsplit(mirror or "")
    except ValueError as error:
        raise DataError(f"TUTORIAL_MIRROR is {mirror!r}, which is no address: {error}") from error
    return mirror.rstrip("/") + urlsplit(file.url).path if mirror else file.url


def fetch(file: File, folder: Path) -> Path:
    """Return the path of the file in the folder; download it unless it is there and whole.

    A part that arrived is kept and continued by the next call. A file with a wrong hash is
    removed. A server that cannot be reached, or does not answer, is not tried again in this
    process, so that ten cells do not wait ten times (`forget_failures` undoes that).

    Raises:
        FetchError: the server cannot be reached, refuses, breaks off four times, or serves
            other bytes than those the catalogue has the hash of.
        OSError: the folder cannot be written, or the disk is full.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    known = f"sha256:{file.sha256}" if file.sha256 else f"md5:{file.md5}" if file.md5 else None
    url, part = address(file), folder / f"{file.name}.part"
    for again in (True, False) if part.exists() else (False,):
        transfer = _Transfer(part, file.bytes)
        try:
            path = Path(pooch.retrieve(url, known, file.name, folder, downloader=transfer))
            return _with_git_blob(path, file.git_blob_sha1)
        except ValueError as error:  # a wrong hash, which may be the fault of an old part
            if not again:
                raise FetchError(f"{url} is not the published file: {error}") from error


def _with_git_blob(path: Path, sha1: str) -> Path:
    content = path.read_bytes() if sha1 else b""
    if sha1 and hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() != sha1:
        path.unlink()
        raise ValueError(f"its git blob id is not {sha1}; it was removed")
    return path


@dataclasses.dataclass(frozen=True)
class _Transfer:
    """A downloader for pooch: collects the body in `part`, with several tries, then renames it."""

    part: Path
    size: int | None

    def __call__(self, url: str, output_file: str, pooch: None) -> None:
        server = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        if server in _unreachable:
            raise FetchError(f"{url}: {_unreachable[server]}; not tried again in this process")
        at_start = self._arrived()
        for pause in (*PAUSES, None):
            try:
                self._receive(url, server)
                break
            except _Interrupted as error:
                if pause is None:
                    if self._arrived() <= at_start:
                        _unreachable[server] = str(error)
                    raise FetchError(f"{url}: {error}, {len(PAUSES) + 1} times") from error
                time.sleep(pause)
        os.replace(self.part, output_file)

    def _arrived(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _receive(self, url: str, server: str) -> None:
        """Ask for what has not arrived yet, and append it to the part."""
        have = self._arrived()
        if self.size is not None and have == self.size:
            return
        with _answer(url, server, have) as answer:
            if answer.status_code == 416:  # the part is longer than the file
                self.part.unlink()
            if answer.status_code in (416, 429) or answer.status_code >= 500:
                raise _Interrupted(f"the server answered {answer.status_code} {answer.reason}")
            if not answer.ok:
                raise FetchError(f"{url}: the server answered {answer.status_code} {answer.reason}")
            self._append(answer, have if answer.status_code == 206 else 0)
        if self.size is not None and self._arrived() < self.size:
            raise _Interrupted(f"the body ended after {self._arrived():,} of {self.size:,} bytes")

    def _append(self, answer: "requests.Response", have: int) -> None:
        import requests
        from tqdm import tqdm

        header = answer.headers.get("Content-Length", "")
        length = int(header) if header.isdecimal() else 0  # it serves the progress bar only
        bar = tqdm(
            desc=self.part.stem, initial=have, total=have + length if length else self.size,
            unit="B", unit_scale=True, delay=1, leave=False,
        )  # fmt: skip
        try:
            with open(self.part, "ab" if have else "wb") as part, bar:
                for chunk in answer.iter_content(CHUNK):
                    bar.update(part.write(chunk))
                    if self.size is not None and part.tell() > self.size:
                        raise FetchError(f"{answer.url} sends more than {self.size:,} bytes")
        except requests.RequestException as error:
            raise _Interrupted(f"the connection broke off ({_plain(error)})") from error
        except (FetchError, OSError):  # not the file, or a full disk: give the room back
            with contextlib.suppress(OSError):
                self.part.unlink(missing_ok=True)
            raise


def _answer(url: str, server: str, have: int) -> "requests.Response":
    import requests
    from urllib3.exceptions import ProtocolError

    headers = {"Accept-Encoding": "identity"}  # a compressed body could not be continued
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        timeout = (CONNECT_SECONDS, READ_SECONDS)
        return requests.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.ConnectTimeout as error:
        reason, cause = f"no connection within {CONNECT_SECONDS} s", error
    except requests.Timeout as error:
        reason, cause = f"no answer within {READ_SECONDS} s", error
    except requests.RequestException as error:
        if error.args and isinstance(error.args[0], ProtocolError):
            raise _Interrupted(f"the connection broke off ({_plain(error)})") from error
        reason, cause = f"no connection ({_plain(error)})", error
    _unreachable[server] = reason
    raise FetchError(f"{url}: {reason}") from cause


def _plain(error: BaseException) -> str:
    """Return the innermost words of an error of requests: the part that a person can use."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[-1] if error.args else None)
        if not isinstance(inner, BaseException):
            return str(error).rsplit(": ", 1)[-1]
        error = inner
