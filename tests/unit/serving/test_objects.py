"""Objects in a folder and in a bucket: whole, conditional, and clear about what is wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from serving.errors import StoreError
from serving.objects import BucketObjects, FolderObjects, open_objects

if TYPE_CHECKING:
    from pathlib import Path


def test_an_object_is_written_once_and_replaced_by_whoever_saw_it(store_url: str) -> None:
    objects = open_objects(store_url)
    assert objects.read("a/b.json") is None
    assert objects.names("a") == []
    assert objects.write("a/b.json", b"first", replacing=None)
    assert not objects.write("a/b.json", b"second", replacing=None)
    first = objects.read("a/b.json")
    assert first is not None
    assert first.content == b"first"
    assert objects.write("a/b.json", b"second", replacing=first)
    assert not objects.write("a/b.json", b"third", replacing=first)
    assert objects.names("a") == ["b.json"]
    assert objects.size("a/b.json") == len(b"second")
    assert objects.size("a/c.json") is None


def test_of_many_writers_one_wins(store_url: str) -> None:
    objects = open_objects(store_url)
    contents = [f"{number}".encode() for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda content: objects.write("one", content, replacing=None), contents))
    (winner,) = [content for content, is_mine in zip(contents, won, strict=True) if is_mine]
    found = objects.read("one")
    assert found is not None
    assert found.content == winner


def test_files_go_there_and_back(store_url: str, tmp_path: Path) -> None:
    objects, file = open_objects(store_url), tmp_path / "file"
    file.write_bytes(b"x" * 100_000)
    objects.upload(file, "files/x")
    objects.upload(file, "files/x")
    objects.download("files/x", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == file.read_bytes()
    assert objects.names("files") == ["x"]
    with pytest.raises(StoreError, match="has no object files/y"):
        objects.download("files/y", tmp_path / "copy")


def test_a_write_whose_answer_was_lost_and_that_was_repeated_succeeds(bucket: str) -> None:
    objects, content = BucketObjects(f"s3://{bucket}/mien"), b"written by the request whose answer was lost"
    assert objects.write("one", content, replacing=None)
    assert objects.write("one", content, replacing=None)


@pytest.mark.parametrize("url", ["", "gs://bucket", "s3://", "file://host/folder", "http://127.0.0.1/x"])
def test_what_is_no_place_for_releases_is_named(url: str) -> None:
    with pytest.raises(StoreError, match=r"no place for releases. Set MIEN_RELEASE_STORE to"):
        open_objects(url)


def test_a_folder_may_be_a_url_and_must_be_there(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    assert isinstance(open_objects(folder.as_uri()), FolderObjects)
    with pytest.raises(StoreError, match=r"There is no folder .*mount the volume"):
        open_objects(str(tmp_path / "elsewhere"))


def test_a_bucket_that_is_not_there_is_named(bucket: str, tmp_path: Path) -> None:
    objects, file = open_objects("s3://no-such-bucket/mien"), tmp_path / "file"
    file.touch()
    for call in (
        lambda: objects.names("a"),
        lambda: objects.read("a"),
        lambda: objects.upload(file, "a"),
        lambda: objects.write("a", b"", replacing=None),
    ):
        with pytest.raises(StoreError, match=r"There is no bucket no-such-bucket. Make it, or correct MIEN_RELEASE"):
            call()


def test_without_credentials_the_error_says_which_variables(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(StoreError, match=r"needs credentials.*AWS_ACCESS_KEY_ID"):
        open_objects(f"s3://{bucket}").read("a")


def test_an_endpoint_that_does_not_answer_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError, match=r"cannot be reached.*127.0.0.1:9.*AWS_ENDPOINT_URL"):
        open_objects(f"s3://{bucket}").read("a")


def test_a_server_that_ignores_conditions_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = BucketObjects(f"s3://{bucket}/mien")
    put = objects._files.pipe_file

    def ignorant(path: str, content: bytes, **conditions: str) -> None:
        put(path, content)

    monkeypatch.setattr(objects._files, "pipe_file", ignorant)
    with pytest.raises(StoreError, match="does not know conditional writes"):
        objects.write("a", b"", replacing=None)
