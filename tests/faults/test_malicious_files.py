"""Row 15: files made to run code or to write elsewhere, wherever Mien takes files in."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pytest

from mien.contract import EMOTION
from serving import ModelRepository, read_settings
from serving.errors import PromotionError, RepositoryError, ServingError
from serving.golden import read_golden
from serving.publishing import publish
from serving.store import open_store
from tests.releases import seal
from training import networks, sources
from training.errors import TrainingError

if TYPE_CHECKING:
    from tests.faults.conftest import Figures

pytestmark = pytest.mark.fault(15)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """The shipped release as an export."""
    folder = tmp_path / "export"
    shutil.copytree(read_settings().shipped_repository, folder)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> ModelRepository:
    """An empty repository that takes releases in."""
    folder = tmp_path / "host" / "models"
    folder.mkdir(parents=True)
    return ModelRepository(folder)


class Executed:
    """Makes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> object:
        return Path.touch, (self.proof,)


def stored(folder: Path, export: Path) -> Path:
    """A store with the export; returns the file of the release's record."""
    folder.mkdir()
    open_store(str(folder), EMOTION).push(ModelRepository(export), 1)
    return folder / "emotion/releases/1.json"


def put(folder: Path, content: bytes) -> str:
    """An object of a store, as whoever may write there puts it; returns its digest."""
    digest = hashlib.sha256(content).hexdigest()
    (folder / "files" / digest).write_bytes(content)
    return digest


def test_a_replaced_savedmodel(export: Path, target: ModelRepository, figures: Figures) -> None:
    """A graph of TensorFlow is a program: what is not what training made is not taken in."""
    graph = export / "emotion_classifier_savedmodel/1/model.savedmodel/saved_model.pb"
    graph.write_bytes(graph.read_bytes() + b"\x00")
    with pytest.raises(RepositoryError, match=r"saved_model.pb is damaged: its SHA-256"):
        publish(export, target, EMOTION)
    assert not target.releases(EMOTION)
    figures.add("replaced SavedModel: not published")


@pytest.mark.parametrize("name", ["payload.so", "model.py"])
def test_a_file_that_no_manifest_names(export: Path, target: ModelRepository, figures: Figures, name: str) -> None:
    (export / "emotion_classifier/1" / name).write_bytes(b"code")
    with pytest.raises(RepositoryError, match=r"is no part of release 1"):
        publish(export, target, EMOTION)
    figures.add(f"{name} beside a model: not published")


def test_a_stored_release_that_brings_code(
    export: Path, target: ModelRepository, tmp_path: Path, figures: Figures
) -> None:
    """Whoever writes to a store makes all digests agree; the configuration is what would have Python run."""
    store = tmp_path / "store"
    record = stored(store, export)
    content = json.loads(record.read_text())
    config = (export / "emotion_classifier/config.pbtxt").read_text().replace('"onnxruntime"', '"python"')
    content["configurations"]["emotion_classifier/config.pbtxt"] = put(store, config.encode())
    content["manifest"]["files"]["emotion_classifier/1/model.py"] = put(store, b"import os")
    record.write_text(json.dumps(content))
    with pytest.raises(ServingError, match=r"would have the server run .*backend 'python'"):
        open_store(str(store), EMOTION).pull(1, target)
    assert not target.releases(EMOTION)
    figures.add("stored release with backend python and a model.py, digests right: not pulled")


@pytest.mark.parametrize("name", ["../../../outside", "/outside", "emotion_classifier/1/../../../../outside"])
def test_a_stored_release_whose_files_lead_outside(
    export: Path, target: ModelRepository, tmp_path: Path, figures: Figures, name: str
) -> None:
    store = tmp_path / "store"
    record = stored(store, export)
    content = json.loads(record.read_text())
    content["configurations"][name] = put(store, b"written")
    record.write_text(json.dumps(content))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ServingError, match="is damaged"):
        open_store(str(store), EMOTION).pull(1, target)
    assert not [path for path in set(tmp_path.rglob("*")) - before if path.name == "outside"]
    figures.add(f"stored release with the file {name}: not pulled, nothing written")


def test_a_pickle_as_golden_inputs(export: Path, tmp_path: Path, figures: Figures) -> None:
    proof, file = tmp_path / "executed", io.BytesIO()
    evil = np.array([Executed(proof)], object)
    np.savez(file, faces=evil, probabilities=evil, tolerance=1e-5)
    (export / "emotion/1/golden.npz").write_bytes(file.getvalue())
    seal(export)
    with pytest.raises(PromotionError, match="holds no golden inputs"):
        read_golden(ModelRepository(export), EMOTION, 1)
    assert not proof.exists()
    figures.add("pickle as golden inputs: not opened")


def test_a_keras_file_with_a_lambda(tmp_path: Path, figures: Figures) -> None:
    """Training takes weights alone and builds the network itself; Keras's safe mode stands behind that."""
    proof, path = tmp_path / "executed", tmp_path / "model.keras"
    code = f"__import__('pathlib').Path({str(proof)!r}).touch()"
    layer = keras.layers.Lambda(eval(f"lambda x: ({code}, x)[1]"), output_shape=(1,))
    keras.Sequential([keras.Input((1,)), layer]).save(path)
    proof.unlink(missing_ok=True)
    with pytest.raises(TrainingError, match="does not hold the weights"):
        networks.load_weights(networks.build("vgg_half"), path)
    with pytest.raises(ValueError, match=r"[Ll]ambda"):
        keras.saving.load_model(path)
    assert not proof.exists()
    figures.add("Keras file with a Lambda: no weights, and refused in safe mode; nothing executed")


def test_a_dataset_that_leads_outside_or_brings_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: Figures
) -> None:
    """A zip file is read where it is; a PostScript file, for which Pillow would start Ghostscript, is no picture."""
    proof, programs = tmp_path / "executed", tmp_path / "bin"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {proof}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    archive = tmp_path / "folder" / "faces.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr("../../outside/happy/a.png", b"no picture")
        content.writestr("happy/b.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n%%EndComments\nshowpage\n")
    reading = sources.read(archive)
    assert list(reading.unreadable) == ["happy/b.png"]
    assert not reading.examples
    assert not proof.exists()
    assert not (tmp_path / "outside").exists()
    figures.add(
        "zip with ../../ and a PostScript file: left out and unreadable, nothing written, Ghostscript not started"
    )
