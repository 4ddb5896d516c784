"""The flow from a dataset to a served release, as Prefect runs it; each task is thin, the work is in the packages.

A run has a folder that its dataset and its configuration name, and every task finds there what an earlier try of the
same run has finished: a flow that was killed at any step is simply run again, and publishes once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.states import Failed

from flows.errors import DatasetRefusedError, GateRefusedError
from flows.retraining.gate import Budgets, Decision, decide
from flows.retraining.one_at_a_time import only_run
from flows.retraining.report_link import link_report
from flows.running_server import check_serving, promoter_of, working_copy
from mien.contract import EMOTION
from serving import ModelRepository, publish, read_settings
from serving.configuration import write_durably
from serving.errors import ServingError

if TYPE_CHECKING:
    from logging import Logger

    import keras
    from prefect.logging.loggers import LoggingAdapter

    from training.dataset import Dataset
    from training.evaluate import Evaluation

EXPORT_FOLDER = "export"
DECISION_FILE = "decision.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the flow led to.

    Attributes:
        run: the run's folder.
        release: the number of the published release.
        served: whether it is the one that is served now.
        decision: the gate's sentence.
    """

    run: Path
    release: int
    served: bool
    decision: str


@flow(name="retrain", log_prints=True)
def retrain(
    data: Path,
    config: str = "quick",
    *,
    promote: bool = True,
    accept_anyway: str = "",
    budgets: Budgets | None = None,
    feedback: bool = True,
) -> Outcome:
    """Dataset check, fit, export, evaluation, gate, publication, promotion.

    Args:
        data: a dataset as `training.dataset.load` takes it.
        config: a configuration's name, or a file with one.
        promote: serve the release, if the gate lets it pass; otherwise it is only published.
        accept_anyway: a reason to promote a candidate that the gate refuses.
        budgets: the gate's limits.
        feedback: train with the accepted corrections too.

    Raises:
        NoServerError: no server runs that could serve the release; nothing has been begun.
        DatasetRefusedError: the dataset is faulty; nothing has been trained.
        GateRefusedError: the candidate is worse than what is served; it is kept in the run's folder.
    """
    settings = read_settings()
    if promote:
        check_serving(settings, EMOTION)
    runs = settings.state.resolve() / "runs"
    with only_run(runs, UUID(flow_run.id)):
        if feedback:
            data = add_feedback(data)
        return _retrain(data, config, runs, promote=promote, accept_anyway=accept_anyway, budgets=budgets or Budgets())


def _retrain(data: Path, config: str, runs: Path, *, promote: bool, accept_anyway: str, budgets: Budgets) -> Outcome:
    digest = check_dataset(data)
    run = train(data, digest, config, runs)
    export = export_model(data, run)
    decision = judge(data, run, export, accept_anyway, budgets)
    if not decision.passed:
        refusal = GateRefusedError(f"{decision.sentence} It is kept in {run}.")
        # So the caller gets the error, and the log no traceback.
        return Failed(message=str(refusal), data=refusal)  # type: ignore[return-value]
    release = publish_release(export)
    if promote:
        promote_release(release, accept_anyway or "passed the gate")
    return Outcome(run, release, promote, decision.sentence)


@task(cache_policy=NO_CACHE)
def add_feedback(data: Path) -> Path:
    """The dataset with the corrections that people gave and a reviewer accepted; itself if there are none."""
    from flows.feedback.collection import with_corrections

    dataset = with_corrections(data)
    if dataset != data:
        get_run_logger().info("%s is %s with the accepted corrections", dataset, data)
    return dataset


@task(cache_policy=NO_CACHE)
def check_dataset(data: Path) -> str:
    """Read and inspect the dataset; returns its digest."""
    from training.inspection import inspect

    inspection = inspect(data)
    logger = get_run_logger()
    faults = [problem.message for problem in inspection.problems if problem.fatal]
    for problem in inspection.problems:
        logger.warning(problem.message)
    if inspection.dataset is None or faults:
        raise DatasetRefusedError(f"{data} cannot be trained with: {' '.join(faults) or 'it holds no faces.'}")
    counts = [{"split": split, **classes} for split, classes in inspection.counts.items()]
    create_table_artifact(counts, key="dataset", description=f"{inspection.dataset.name}, {inspection.dataset.digest}")
    logger.info("near-duplicates: %d, across splits: %d", len(inspection.duplicates), len(inspection.leaks))
    return inspection.dataset.digest


@task(cache_policy=NO_CACHE)
def train(data: Path, digest: str, config: str, runs: Path) -> Path:
    """Fit the network, or go on with a fit that was broken off; returns the run's folder."""
    from training.config_file import open_config
    from training.fit import RESULT_FILE, fit

    settings = open_config(config)
    content = json.dumps({"dataset": digest, "config": settings.as_json()}, sort_keys=True)
    run = runs / f"{Path(config).stem}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    logger = get_run_logger()
    if (run / RESULT_FILE).exists():
        logger.info("This dataset has been trained with this configuration before: %s", run)
        return run
    logger.info("%s %s in %s", "Going on" if run.exists() else "Training", settings.network, run)
    result = fit(settings, _open_dataset(data), run, [_epoch_log(logger)])
    logger.info("Best epoch %d of %d", result.best_epoch + 1, len(result.history["loss"]))
    return run


def _epoch_log(logger: Logger | LoggingAdapter) -> keras.callbacks.Callback:
    """Tells Prefect's log of each epoch; Keras itself writes to the standard output alone."""
    import keras

    def tell(epoch: int, figures: dict[str, float]) -> None:
        logger.info("epoch %d: %s", epoch + 1, ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))

    return keras.callbacks.LambdaCallback(on_epoch_end=tell)


@task(cache_policy=NO_CACHE)
def export_model(data: Path, run: Path) -> Path:
    """Write the run's network as ONNX and SavedModel; returns the folder of the export."""
    from training.evaluate import onnx_metrics
    from training.export.release import candidate_of_run, export_release

    export = run / EXPORT_FOLDER
    try:
        ModelRepository(export).verify_release(EMOTION, 1)
    except ServingError:
        split = _open_dataset(data).validation
        export_release(candidate_of_run(run), export, 1, replace=True, measure=lambda path: onnx_metrics(path, split))
    return export


@task(cache_policy=NO_CACHE)
def judge(data: Path, run: Path, export: Path, accept_anyway: str, budgets: Budgets) -> Decision:
    """Measure the candidate and the release that is served on the same faces, report, and decide."""
    from training.classifier import open_release
    from training.comparison import compare
    from training.evaluate import evaluate
    from training.report import write_report
    from training.run_record import read_run

    repository, dataset = working_copy(read_settings()), _open_dataset(data)
    serving = repository.pointer(EMOTION).release
    old, new = open_release(repository.path, serving), open_release(export, 1)
    faces = dataset.validation
    before, after = (evaluate(model, dataset, corruptions=()) for model in (old, new))
    comparison = compare(old.predict(faces.examples), new.predict(faces.examples), faces.labels)
    decision = decide(after, before, comparison, release=serving, budgets=budgets, accept_anyway=accept_anyway)
    write_durably(run / DECISION_FILE, json.dumps(decision.as_json(), indent=2).encode())
    page = write_report(run, after, faces.examples, read_run(run))
    _show(after, decision, page, run)
    get_run_logger().info(decision.sentence)
    return decision


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1)
def publish_release(export: Path) -> int:
    """Put the export into the server's repository; returns its number. The same files keep the number they have."""
    published = publish(export, working_copy(read_settings()), EMOTION)
    number = published.manifest.release
    get_run_logger().info("release %d%s", number, "" if published.is_new else ", as it was published before")
    return number


@task(cache_policy=NO_CACHE)
def promote_release(release: int, reason: str) -> None:
    """Serve the release, unless that is what is served."""
    settings = read_settings()
    if working_copy(settings).pointer(EMOTION).release == release:
        get_run_logger().info("release %d is served already", release)
        return
    with promoter_of(settings, EMOTION) as promoter:
        promotion = promoter.promote(release, reason=reason)
    get_run_logger().info("release %d is served; that took %.2g s", release, promotion.swap_s)


@lru_cache(maxsize=1)
def _open_dataset(data: Path) -> Dataset:
    """Tasks are given paths and digests, not arrays; within a process the faces are read once."""
    from training.dataset import load

    return load(data)


def _show(evaluation: Evaluation, decision: Decision, page: Path, run: Path) -> None:
    """Put what people want to see of a run into Prefect's page of it."""
    from training import plots
    from training.page import svg_uri
    from training.run_record import read_run

    report = evaluation.report
    rows = [
        {
            "class": one.label,
            **{
                name: None if figure is None else round(figure, 4)
                for name, figure in (("precision", one.precision), ("recall", one.recall), ("F1", one.f1))
            },
            "faces": one.support,
        }
        for one in report.classes
    ]
    title = f"accuracy {report.accuracy:.4f}, macro-F1 {report.macro_f1:.4f}, calibration error {report.ece:.3f}"
    create_table_artifact(rows, key="metrics", description=f"{title}, on {report.examples} validation faces")
    create_image_artifact(svg_uri(plots.confusion(report)), key="confusion", description="Confusion matrix")
    history = read_run(run).history
    if history:
        create_image_artifact(svg_uri(plots.curves(history)), key="curves", description="Loss and accuracy by epoch")
    link_report(page, "report")
    rules = "\n".join(
        f"| {rule.name} | {'kept' if rule.kept else '**broken**'} | {rule.finding} |" for rule in decision.rules
    )
    create_markdown_artifact(
        f"{decision.sentence}\n\n| rule | | finding |\n| --- | --- | --- |\n{rules}\n",
        key="decision",
        description="The gate",
    )
