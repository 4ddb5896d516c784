"""What a search shows while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from types import TracebackType

    from training.search import Progress


class Display:
    """A line for each trial that ended and, on a terminal, a bar with the time left."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # where nobody watches, a bar would fill the log with empty lines
            redirect_stdout=False,  # the training's log goes elsewhere
            speed_estimate_period=24 * 3600,
        )
        self._task = self._bar.add_task("First epoch", total=None)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Bring the display up to date."""
        trial = progress.trial
        epochs = len(trial.curve)
        best = "" if progress.best is None else f", best {progress.best:.4f}"
        if trial.state == "running":
            self._bar.update(
                self._task,
                description=f"Trial {trial.number}, epoch {epochs} of {progress.epochs}{best}",
                completed=progress.done,
                total=progress.trials,
            )
            return
        self._bar.update(self._task, completed=progress.done, total=progress.trials)
        accuracy = "no accuracy" if trial.accuracy is None else f"{trial.accuracy:.4f}"
        values = ", ".join(f"{field} {_short(value)}" for field, value in trial.values.items())
        outcome = f"{trial.state} after epoch {epochs}: {accuracy}{best}. {trial.error or ''}".strip()
        self._bar.console.print(
            f"Trial {trial.number} ({progress.done} of {progress.trials}) {outcome} {values}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
