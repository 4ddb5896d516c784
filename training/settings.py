"""What training takes from the environment, read once."""

from __future__ import annotations

from pydantic import SecretStr  # noqa: TC002 - pydantic reads the annotations at run time
from pydantic_settings import BaseSettings, SettingsConfigDict


class TrainingSettings(BaseSettings):
    """Settings of training; each comes from ``MIEN_<NAME>`` in the environment.

    Attributes:
        optuna_storage: URL of the database that holds the studies of searches, such as
            ``postgresql+psycopg://user:password@host/optuna``, so that several machines can search together; by default
            each search has a file of its own, for the processes of one machine.
    """

    model_config = SettingsConfigDict(env_prefix="MIEN_", extra="ignore", frozen=True, env_ignore_empty=True)

    optuna_storage: SecretStr | None = None

    @property
    def study_storage(self) -> str | None:
        """The URL with its password."""
        return self.optuna_storage.get_secret_value() if self.optuna_storage else None
