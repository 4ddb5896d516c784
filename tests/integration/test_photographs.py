"""What the whole way gives on labelled pictures: detector, crop, gRPC, ensemble. The figures are printed with `-s`."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION_LABELS
from mien.settings import YUNET_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from serving import TritonServer

pytestmark = [pytest.mark.integration, pytest.mark.data]

PHOTO_LABELS = {"anger": "angry", "happiness": "happy", "sadness": "sad"}
DEADLINE_S = 60.0
"""Machines that run the tests are busy with others."""


@pytest.fixture(scope="module")
def client(triton: TritonServer, test_data: Path) -> Iterator[EmotionClient]:
    settings = ClientSettings(
        endpoints=triton.endpoint, yunet_path=test_data / "models" / YUNET_FILE, deadline_s=DEADLINE_S
    )
    with EmotionClient(settings) as client:
        yield client


def confusion_report(pairs: Counter[tuple[str, str]]) -> str:
    head = " ".join(f"{label:>9}" for label in ("", *EMOTION_LABELS))
    rows = [
        " ".join([f"{label:>9}", *(f"{pairs[label, named]:>9}" for named in EMOTION_LABELS)])
        for label in EMOTION_LABELS
    ]
    return "\n".join(["labelled (rows), named (columns)", head, *rows])


def test_photographs_show_their_faces_and_half_of_their_labels(client: EmotionClient, test_data: Path) -> None:
    pairs: Counter[tuple[str, str]] = Counter()
    total = 0
    with zipfile.ZipFile(test_data / "data/photos.zip") as archive:
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("labels.csv"))))
        for start in range(0, len(rows), 32):
            batch = rows[start : start + 32]
            pictures = [archive.read(f"photos/{row['file']}") for row in batch]
            for row, recognition in zip(batch, client.recognize_many(pictures), strict=True):
                total += 1
                if recognition.faces:
                    label = PHOTO_LABELS.get(row["emotion"], row["emotion"])
                    pairs[label, recognition.faces[0].emotion.label] += 1
    found = sum(pairs.values()) / total
    named = sum(count for (label, name), count in pairs.items() if label == name) / total
    print(
        f"\n{total} photographs: a face found in {found:.1%}, the label named for {named:.1%}\n"
        + confusion_report(pairs)
    )
    assert total == 732
    assert found >= 0.98
    assert named >= 0.47


def test_public_test_through_grpc_and_the_ensemble(client: EmotionClient, test_data: Path) -> None:
    faces, labels = [], []
    with zipfile.ZipFile(test_data / "data/fer2013.zip") as archive:
        for name in archive.namelist():
            folder, _, file = name.rpartition("/")
            if file.startswith("PublicTest"):
                grey = np.asarray(Image.open(io.BytesIO(archive.read(name))))
                # Each pixel becomes 2 x 2, which the ensemble's antialiased resize averages back to the same pixel.
                faces.append(np.repeat(np.repeat(grey, 2, 0), 2, 1)[..., None].repeat(3, -1))
                labels.append(folder.rpartition("/")[2])
    answer = client.classify(np.stack(faces), deadline_s=240)
    pairs = Counter(
        (label, answer.labels[index]) for label, index in zip(labels, answer.probabilities.argmax(1), strict=True)
    )
    accuracy = sum(count for (label, name), count in pairs.items() if label == name) / len(labels)
    print(f"\n{len(labels)} PublicTest faces: accuracy {accuracy:.4f}\n{confusion_report(pairs)}")
    assert len(labels) == 3589
    assert accuracy >= 0.70
