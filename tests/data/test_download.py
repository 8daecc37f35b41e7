"""Faults of network, server and disk: a clear error or recovery, and a cache that stays whole."""

import errno
import hashlib
import io
import multiprocessing
import os
import tarfile
import time
import zipfile
from pathlib import Path

import filelock
import pyarrow.parquet
import pytest
from faultserver import TOY, TOY_URL, serving, toy_catalogue, toy_entry, toy_file

from tutorial_lib.data import DataError, DatasetUnavailable, load, loading, provenance
from tutorial_lib.data import download as downloads
from tutorial_lib.data.parse import members

HALF = len(TOY) // 2


def assert_whole(cache: Path) -> None:
    """The toy set loads, has all rows, and the cache holds nothing but it."""
    data = load("toy", splits="official")["full"]
    lines = TOY.decode().splitlines()
    assert data["text"][:] == [line[2:] for line in lines]
    assert data["label"][:] == [int(line[0]) for line in lines]
    left = [path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == ["all.parquet"]


def assert_fails(*words: str) -> None:
    with pytest.raises(DatasetUnavailable) as caught:
        load("toy")
    for word in (*words, "TUTORIAL_DATA", "cache"):
        assert word in str(caught.value)


def assert_continued(asked: str | None, end: int) -> None:
    """The request was for the rest of a body that had ended there, but for a part of a chunk."""
    assert end - downloads.CHUNK < int(asked.removeprefix("bytes=").removesuffix("-")) <= end


def test_a_download_is_verified_cached_and_not_repeated(toy, cache):
    assert provenance(load("toy")).source == "download"
    assert provenance(load("toy")).source == "cache"
    assert toy.requests == [("/pinned/toy.tsv", None)]
    assert toy.encodings == ["identity"]  # a compressed body could not be continued
    assert_whole(cache)


@pytest.mark.parametrize("fault", ["cut", 500, 503, 429])
def test_a_fault_that_passes_is_overcome(toy, cache, fault):
    toy.faults = [fault]
    assert_whole(cache)
    assert len(toy.requests) == 2


def test_a_cut_body_is_continued_where_it_ended(toy, cache):
    toy.faults = ["cut", "cut"]
    assert_whole(cache)
    (_, first), (_, second), (_, third) = toy.requests
    assert first is None
    assert_continued(second, HALF)
    assert_continued(third, HALF + (len(TOY) - HALF) // 2)


def test_a_server_without_ranges_sends_all_again(toy, cache):
    toy.faults, toy.ranges = ["cut"], False
    assert_whole(cache)
    assert [asked is None for _, asked in toy.requests] == [True, False]


def test_a_short_body_of_unannounced_length_is_noticed_by_the_catalogue_s_size(toy, cache):
    size = {"sha256": hashlib.sha256(TOY).hexdigest(), "bytes": len(TOY)}
    toy.faults = ["short"]
    with toy_catalogue(toy_entry(toy_file(**size))):
        assert_whole(cache)
    assert_continued(toy.requests[1][1], HALF)


def test_a_short_body_of_unknown_size_is_noticed_by_its_hash(toy, cache):
    toy.faults = ["short"]
    assert_fails("not the published file", "SHA256")
    assert_whole(cache)


def test_a_body_beyond_the_catalogue_s_size_is_not_taken_in(toy, cache):
    sha256 = hashlib.sha256(TOY).hexdigest()
    with toy_catalogue(toy_entry(toy_file(sha256=sha256, bytes=HALF))):
        assert_fails(f"sends more than {HALF:,} bytes")
    assert not [*cache.rglob("*.part")]


def test_a_body_that_is_cut_every_time_is_given_up_and_continued_later(toy, cache):
    toy.faults = ["cut"] * 4
    assert_fails("broke off", "4 times")
    assert_whole(cache)
    assert toy.requests[-1][1] is not None


def test_a_stalled_body_is_continued(toy, cache):
    toy.faults = ["stall"]
    assert_whole(cache)
    assert_continued(toy.requests[1][1], HALF)


@pytest.mark.parametrize("part", [TOY + b"more", b"x" * HALF])
def test_a_part_that_is_not_of_this_file_is_thrown_away(toy, cache, part):
    folder = cache / ".downloads" / "toy"
    folder.mkdir(parents=True)
    (folder / "toy.tsv.part").write_bytes(part)
    assert_whole(cache)


@pytest.mark.parametrize("old", [b"", TOY[:HALF]])
def test_a_length_given_twice_is_no_obstacle(toy, cache, old):
    part = cache / ".downloads" / "toy" / "toy.tsv.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(old)
    toy.faults = ["lengths"] * 20
    assert_whole(cache)
    assert len(toy.requests) == 1


def test_bytes_that_stay_wrong_are_asked_for_once_more_and_then_refused(toy, cache):
    part = cache / ".downloads" / "toy" / "toy.tsv.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * HALF)
    toy.faults = ["wrong"] * 20
    assert_fails("not the published file")
    assert len(toy.requests) == 2 and not part.exists()


def test_a_mirror_that_is_no_address_is_an_error_at_once(toy, cache, monkeypatch):
    part = cache / ".downloads" / "toy" / "toy.tsv.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(TOY[:HALF])
    monkeypatch.setenv("TUTORIAL_MIRROR", "http://[bad")
    with pytest.raises(DataError, match="TUTORIAL_MIRROR is .*bad.* no address"):
        load("toy")
    assert part.read_bytes() == TOY[:HALF]


def test_wrong_bytes_are_refused_and_removed(toy, cache):
    toy.faults = ["wrong"]
    assert_fails("not the published file", TOY_URL.rsplit("/", 1)[1])
    assert not any(path.is_file() for path in (cache / ".downloads").rglob("*"))
    assert_whole(cache)


def test_404_is_an_error_at_once(toy, cache):
    toy.faults = [404]
    assert_fails("404")
    assert len(toy.requests) == 1
    assert_whole(cache)


def test_a_server_that_always_fails_is_given_up(toy, cache):
    toy.faults = [500] * 4
    assert_fails("500", "4 times")
    assert_fails("not tried again in this process")
    assert len(toy.requests) == 4
    downloads.forget_failures()
    assert_whole(cache)


def test_a_server_that_hangs_costs_one_time_out_in_a_process(toy, cache):
    toy.faults = ["hang"]
    start = time.monotonic()
    assert_fails("no answer within 0.5 s")
    assert 0.5 <= time.monotonic() - start < 3
    for _ in range(3):
        assert_fails("not tried again in this process")
    assert len(toy.requests) == 1
    downloads.forget_failures()
    assert_whole(cache)


def test_a_refused_connection_is_said_plainly(toy, cache, monkeypatch):
    with serving() as gone:
        address = gone.url
    with monkeypatch.context() as context:
        context.setenv("TUTORIAL_MIRROR", address)
        assert_fails("no connection", "Connection refused")
        assert_fails("not tried again")
    assert_whole(cache)


@pytest.mark.parametrize(
    "known",
    [
        {"md5": hashlib.md5(TOY).hexdigest()},
        # What `git hash-object` prints for the file.
        {"git_blob_sha1": hashlib.sha1(b"blob %d\0" % len(TOY) + TOY).hexdigest()},
    ],
)
def test_other_hashes_are_held_to_as_well(toy, cache, known):
    with toy_catalogue(toy_entry(toy_file(**known))):
        toy.faults = ["wrong"]
        assert_fails("not the published file")
        assert_whole(cache)


def test_git_itself_names_the_content_so(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    # The id of git's empty blob, known from every repository.
    known = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert downloads._with_git_blob(tmp_path / "empty", known).exists()


def test_a_full_disk_while_downloading(toy, cache):
    part = cache / ".downloads" / "toy" / "toy.tsv.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")  # every write to it fails as on a full disk
    assert_fails("No space left on device", "TUTORIAL_CACHE")
    assert_whole(cache)


def test_a_full_disk_while_writing_the_cache(toy, cache, monkeypatch):
    def fails_half_way(table, path, **options):
        Path(path).write_bytes(b"PAR1 and no more")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(pyarrow.parquet, "write_table", fails_half_way)
        assert_fails("No space left on device", "TUTORIAL_CACHE")
    assert not (cache / "toy").exists()
    assert_whole(cache)


def test_what_a_killed_run_left_is_cleared(toy, cache):
    left = cache / ".unfinished" / "toy" / "left.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1 and no more")
    assert_whole(cache)


def test_the_cache_appears_whole_by_a_rename(toy, cache, monkeypatch):
    written = []

    def write_folder(folder, *arguments):
        write(folder, *arguments)
        written.append(folder.stat().st_ino)

    write = loading.write_folder
    monkeypatch.setattr(loading, "write_folder", write_folder)
    load("toy")
    assert [(cache / "toy").stat().st_ino] == written  # the folder itself, and no copy of it


def test_waiting_for_another_process_is_said_and_ends(toy, cache, monkeypatch, capsys):
    monkeypatch.setattr(loading, "LOCK_SECONDS", 0.1)
    (cache / ".locks").mkdir(parents=True)
    with filelock.FileLock(cache / ".locks" / "toy.lock"):
        assert_fails("another process has held")
    assert capsys.readouterr().out == "Another process fetches toy; waiting for it.\n"
    assert_whole(cache)
    assert capsys.readouterr().out == ""


def test_a_cache_that_cannot_be_written(toy, cache):
    cache.write_text("a file where the folder should be")
    assert_fails("cannot write to the cache", "TUTORIAL_CACHE")
    cache.unlink()
    assert_whole(cache)


def _load_in_a_process(mirror: str, cache: str, answers) -> None:
    os.environ.update(TUTORIAL_MIRROR=mirror, TUTORIAL_CACHE=cache)
    os.environ.pop("TUTORIAL_DATA", None)
    with toy_catalogue():
        downloads.READ_SECONDS = 30
        record = provenance(load("toy"))
        answers.put((record.source, record.sha256))


def test_two_processes_at_once_download_once(toy, cache):
    spawn = multiprocessing.get_context("spawn")
    answers, toy.faults = spawn.Queue(), ["stall"]
    arguments = (toy.url, str(cache), answers)
    both = [spawn.Process(target=_load_in_a_process, args=arguments) for _ in range(2)]
    for process in both:
        process.start()
    assert toy.reached.wait(60)
    time.sleep(1.5)  # the second has time to come to the lock
    toy.release.set()
    found = [answers.get(timeout=60) for _ in both]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(source for source, _ in found) == ["cache", "download"]
    assert len({sha256 for _, sha256 in found}) == 1
    assert len(toy.requests) == 2
    assert_continued(toy.requests[1][1], HALF)
    assert_whole(cache)


def test_a_process_killed_while_downloading_leaves_a_usable_cache(toy, cache):
    spawn = multiprocessing.get_context("spawn")
    toy.faults = ["stall"]
    arguments = (toy.url, str(cache), spawn.Queue())
    process = spawn.Process(target=_load_in_a_process, args=arguments)
    process.start()
    part = cache / ".downloads" / "toy" / "toy.tsv.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join(60)
    arrived = part.stat().st_size
    assert 0 < arrived <= HALF
    assert_whole(cache)
    assert toy.requests[-1][1] == f"bytes={arrived}-"


def _zip(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", "good")
        archive.writestr(member, "bad")


def _tar(path: Path, member: str) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in ("good.txt", member):
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))


@pytest.mark.parametrize("member", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt"])
@pytest.mark.parametrize("name, write", [("a.zip", _zip), ("a.tar.gz", _tar)])
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path, name, write, member):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / name, member)
    with pytest.raises(DataError, match="leads out of it"):
        list(members(folder / name))
    assert [path.name for path in tmp_path.rglob("*.txt")] == []


@pytest.mark.parametrize("name, write", [("a.zip", _zip), ("a.tar.gz", _tar)])
def test_a_damaged_archive_is_said_to_be_so(tmp_path, name, write):
    write(tmp_path / name, "second.txt")
    assert [member for member, _ in members(tmp_path / name)] == ["good.txt", "second.txt"]
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        list(members(tmp_path / name))


def test_bytes_that_do_not_decompress_are_said_to_be_damaged(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", "good and bad, " * 50)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[31:40] = b"\xff" * 9  # behind the header of 30 bytes and the name
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        list(members(tmp_path / "a.zip"))
