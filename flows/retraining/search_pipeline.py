"""The search for a better configuration as Prefect runs it: one run that shares out one study among workers.

Workers are processes of this machine, or runs of the deployment `search-trials`, wherever its work pool has workers.
All of them need the search's folder and the dataset under the same path; if they are on several machines, also the
database of MIEN_OPTUNA_STORAGE. A worker that dies costs its trial at most: the next one tries it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound

from flows.errors import FlowError
from flows.retraining.report_link import link_report
from serving import read_settings
from serving.kept_process import KeptProcess

if TYPE_CHECKING:
    from training.search import Search, SearchResult

TRIALS_DEPLOYMENT = "search-trials/mien"

_LOOK_S = 0.5
_EXIT_TIMEOUT_S = 10.0


@flow(name="search", log_prints=True)
def search(
    data: Path,
    config: str = "quick",
    space: str = "recipe",
    *,
    run: Path | None = None,
    trials: int = 20,
    epochs: int | None = None,
    faces: int | None = None,
    seed: int = 0,
    workers: int = 2,
    on_work_pool: bool = False,
) -> Path:
    """Have workers take trials from one study until there are enough, and tell what was found.

    Args:
        data: a dataset as `training.dataset.load` takes it.
        config: what is varied: a configuration's name, or a file with one.
        space: name of a module of `training.spaces`.
        run: the search's folder; by default one below the state folder that the options name. A search that was broken
            off there goes on.
        trials: in total, those of earlier runs included.
        epochs: of each trial; the configuration's by default.
        faces: train on so many; on all by default.
        seed: of the suggestions and of the subset.
        workers: how many trials at a time.
        on_work_pool: have runs of `search-trials` do the work, by whatever workers the work pool has; otherwise
            processes of this machine do.

    Returns:
        A file with the best configuration, as `retrain` takes it.

    Raises:
        FlowError: the workers do not get on.
        TrainingError: the search cannot be made of these options, or goes on somewhere else.
    """
    options: dict[str, Any] = {
        "data": data,
        "config": str(Path(config).resolve()) if config.endswith(".py") else config,
        "space": space,
        "epochs": epochs,
        "faces": faces,
        "seed": seed,
    }
    options |= {"run": run or _folder(options), "trials": trials}
    plan, logger = _plan(**options), get_run_logger()
    standing = plan.prepare()
    while standing.left:
        count = min(workers, standing.left)
        logger.info("%d trials are left for %d workers, in %s", standing.left, count, plan.directory)
        if on_work_pool:
            asyncio.run(_run_deployments(options, count))
        else:
            _run_processes(options, count)
        before, standing = standing, plan.prepare()
        if standing.best is None or standing.left == before.left:
            raise FlowError(_no_progress(plan.directory))
    return _conclude(plan, data)


@flow(name="search-trials", log_prints=True)
def search_trials(
    data: Path,
    run: Path,
    config: str,
    space: str,
    trials: int,
    epochs: int | None = None,
    faces: int | None = None,
    seed: int = 0,
) -> None:
    """Take trials from a study that `search` has prepared, until there are enough.

    Args:
        data: as there, like everything else.
        run: the search's folder.
        config: what is varied.
        space: the values.
        trials: in total.
        epochs: of each trial.
        faces: train on so many.
        seed: of the suggestions and of the subset.

    Raises:
        TrainingError: nobody has prepared that search, or the first trial fails.
    """
    logger = get_run_logger()
    plan = _plan(data=data, run=run, config=config, space=space, trials=trials, epochs=epochs, faces=faces, seed=seed)
    plan.work(
        lambda progress: logger.info(
            "trial %d %s after epoch %d: %s",
            progress.trial.number,
            progress.trial.state,
            len(progress.trial.curve),
            progress.trial.accuracy,
        )
    )


def _plan(
    data: Path,
    run: Path,
    config: str,
    space: str,
    trials: int,
    epochs: int | None,
    faces: int | None,
    seed: int,
) -> Search:
    import optuna

    from training.config_file import open_config
    from training.dataset import load
    from training.search import Search
    from training.settings import TrainingSettings
    from training.space import load_space

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the run's own log says the same
    return Search(
        open_config(config),
        load_space(space),
        load(data),
        run,
        trials,
        epochs=epochs,
        faces=faces,
        seed=seed,
        storage=TrainingSettings().study_storage,
    )


def _folder(options: dict[str, Any]) -> Path:
    """Where a search with these options is, also when it is started again."""
    content = json.dumps(options, default=str, sort_keys=True)
    name = f"{Path(options['config']).stem}-{options['space']}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    return read_settings().state.resolve() / "searches" / name


def _run_processes(options: dict[str, Any], count: int) -> None:
    """Have processes of this machine take trials, and wait for their end; they end at the latest with this one."""
    logs = Path(options["run"]) / "workers"
    logs.mkdir(exist_ok=True)
    named = {name: value for name, value in options.items() if name != "data" and value is not None}
    command = [sys.executable, "-m", "training", "search", str(options["data"]), "--join"]
    command += [argument for name, value in named.items() for argument in (f"--{name}", str(value))]
    with ExitStack() as stack:
        processes = []
        for number in range(1, count + 1):
            process = KeptProcess(
                {
                    "command": command,
                    "environment": dict(os.environ),
                    "log": str(logs / f"{number}.log"),
                    "exit_timeout_s": _EXIT_TIMEOUT_S,
                    "shared_memory_prefix": f"mien-search-{os.getpid()}-",
                    "cleanup": [],
                }
            )
            stack.callback(process.stop)
            processes.append(process)
        while any(process.is_alive for process in processes):
            time.sleep(_LOOK_S)


async def _run_deployments(options: dict[str, Any], count: int) -> None:
    """Have runs of the deployment take trials, and wait for their end."""
    parameters = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    try:
        await asyncio.gather(*(arun_deployment(TRIALS_DEPLOYMENT, parameters=parameters) for _ in range(count)))
    except ObjectNotFound as error:
        raise FlowError(
            f"There is no deployment {TRIALS_DEPLOYMENT}. Register it with `python -m flows.deploy`, or search with"
            " processes of this machine."
        ) from error


def _no_progress(folder: Path) -> str:
    """What the workers said last."""
    said = []
    for log in sorted((folder / "workers").glob("*.log")):
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said += [f"{log.name}: {lines[-1]}"] if lines else []
    return f"The workers ended without a completed trial. {' '.join(said) or 'Their runs in Prefect say why.'}"


def _conclude(plan: Search, data: Path) -> Path:
    """Write the report and the best configuration, and show them in Prefect's page of the run."""
    from training.search_report import BEST_FILE, training_command, write_search

    result = plan.conclude()
    page = write_search(plan.directory, result, str(data))
    _show(result, page, training_command(plan.directory, str(data)))
    get_run_logger().info("best: trial %d, validation accuracy %.4f", result.best.number, result.best.accuracy)
    return plan.directory / BEST_FILE


def _show(result: SearchResult, page: Path, command: str) -> None:
    rows = [
        {
            "trial": trial.number,
            "state": trial.state,
            "accuracy": trial.accuracy,
            "seconds": trial.seconds,
            **trial.values,
        }
        for trial in result.trials
    ]
    create_table_artifact(rows, key="search-trials", description="Every trial and what it tried")
    values = "\n".join(f"| {field} | {value} |" for field, value in result.best.values.items())
    create_markdown_artifact(
        f"Trial {result.best.number} reached {result.best.accuracy:.4f} on the validation split in {result.epochs}"
        f" epochs. To train it in full:\n\n    {command}\n\n| field | value |\n| --- | --- |\n{values}\n",
        key="search-best",
        description="The best configuration",
    )
    link_report(page, "search-report")
