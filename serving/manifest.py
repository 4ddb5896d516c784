"""The manifest of a release: which files it consists of, where they came from, and how good it is."""

from __future__ import annotations

import hashlib
from datetime import datetime  # noqa: TC003 - pydantic reads the annotations at run time
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.errors import RepositoryError

MANIFEST_NAME = "manifest.json"

_FILE_DEPTH = 3
"""Least number of parts of a file's path: model, version, name."""

VersionNumber = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _inside(path: str) -> str:
    """A manifest may come from elsewhere: its paths must not lead out of the repository."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts:
        raise ValueError("the path leads out of the repository")
    return path


RepositoryPath = Annotated[str, AfterValidator(_inside)]
ModelName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class Dataset(BaseModel):
    """What a release was trained on."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str | None = None


class Manifest(BaseModel):
    """One release of an ensemble, as `<ensemble>/<release>/manifest.json` tells it.

    Attributes:
        schema_version: version of this format, ``schema`` in the file.
        ensemble: the ensemble it is a release of.
        release: its number, which is the ensemble's model version.
        members: model name to version, for each step of the ensemble.
        twins: the same for models in another format that the ensemble does not use.
        files: SHA-256 of every file of these version directories, by path relative to the repository.
        labels: meaning of the output's columns.
        dataset: what it was trained on.
        metrics: what was measured, such as ``public_test_accuracy``.
        created_at: when, in UTC.
        created_by: who or what made it.
        provenance: code revision, versions of the tools, configuration.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_version: Literal[1] = Field(alias="schema")
    ensemble: ModelName
    release: VersionNumber
    members: dict[ModelName, VersionNumber]
    twins: dict[ModelName, VersionNumber] = {}
    files: dict[RepositoryPath, Sha256]
    labels: tuple[str, ...]
    dataset: Dataset
    metrics: dict[str, float]
    created_at: datetime
    created_by: str
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        """A release consists of its models' versions: it must not bring configurations, or change another release.

        And each model has a file at least, or what is served would be held against nothing.
        """
        folders = {(name, str(version)) for name, version in {**self.members, **self.twins}.items()}
        folders.add((self.ensemble, str(self.release)))
        for name in self.files:
            parts = PurePosixPath(name).parts
            if parts[:2] not in folders or len(parts) < _FILE_DEPTH:
                raise ValueError(f"{name} is no file of a version of this release")
        named = {PurePosixPath(name).parts[0] for name in self.files}
        if missing := sorted({*self.members, *self.twins} - named):
            raise ValueError(f"no file of {missing[0]} is named")
        return self

    @property
    def content(self) -> set[tuple[str, str]]:
        """What tells two releases apart: their files and digests, whatever their number."""
        return {(str(_renumber(name, 0)), digest) for name, digest in self.files.items()}

    def renumbered(self, release: int) -> Manifest:
        """The same release under another number, which is then also the version of its models."""
        return self.model_copy(
            update={
                "release": release,
                "members": dict.fromkeys(self.members, release),
                "twins": dict.fromkeys(self.twins, release),
                "files": {str(_renumber(name, release)): digest for name, digest in self.files.items()},
            }
        )

    def without_twins(self) -> Manifest:
        """The same release with what its ensemble needs alone."""
        files = {name: digest for name, digest in self.files.items() if PurePosixPath(name).parts[0] not in self.twins}
        return self.model_copy(update={"twins": {}, "files": files})

    def as_bytes(self) -> bytes:
        """The manifest as its file holds it."""
        return self.model_dump_json(by_alias=True, indent=2).encode()

    def verify_files(self, repository: Path) -> None:
        """Hold every file against its digest.

        Raises:
            RepositoryError: a file is missing or differs, or there is one that the manifest does not name.
        """
        for name, expected in self.files.items():
            path = repository / name
            if not path.is_file():
                raise RepositoryError(
                    f"{path} is missing; release {self.release} of {self.ensemble} needs it. {_REMEDY}"
                )
            found = file_sha256(path)
            if found != expected:
                raise RepositoryError(
                    f"{path} is damaged: its SHA-256 is {found}, the manifest of release {self.release} of"
                    f" {self.ensemble} says {expected}. {_REMEDY}"
                )
        for model, version in {**self.members, **self.twins, self.ensemble: self.release}.items():
            self._check_folder(repository, PurePosixPath(model, str(version)))

    def _check_folder(self, repository: Path, folder: PurePosixPath) -> None:
        """A model may read what lies beside it."""
        for path in (repository / folder).rglob("*"):
            name = path.relative_to(repository).as_posix()
            if path.is_file() and name not in self.files and path.name != MANIFEST_NAME:
                raise RepositoryError(
                    f"{path} is no part of release {self.release} of {self.ensemble}: its manifest does not name it."
                    f" {_REMEDY}"
                )


def _renumber(name: str, release: int) -> PurePosixPath:
    """``<model>/<version>/<file>`` with another version."""
    model, _, *rest = PurePosixPath(name).parts
    return PurePosixPath(model, str(release), *rest)


_REMEDY = (
    "If the release came with Mien, delete the working copy and start again; otherwise publish it again or roll back."
)


def read_manifest(path: Path) -> Manifest:
    """The manifest in `path`.

    Raises:
        RepositoryError: it is missing, or not a manifest.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RepositoryError(
            f"{path} is missing: the release has no manifest. For the shipped one, restore it from version control or"
            " run `python -m training.export`."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise RepositoryError(f"{path} is not a release's manifest: {field}: {first['msg']}. {_REMEDY}") from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
