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
from flows.retraining.subject import ensemble_of
from flows.running_server import check_serving, promoter_of, working_copy
from mien.contract import AUDIO
from serving import ModelRepository, publish, read_settings
from serving.configuration import write_durably
from serving.errors import ServingError

if TYPE_CHECKING:
    from logging import Logger

    import keras
    from prefect.logging.loggers import LoggingAdapter

    from mien.contract import EnsembleSpec
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
        config: a configuration's name, or a file with one. Its network says which ensemble gets the release.
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
    ensemble = ensemble_of(config)
    if promote:
        check_serving(settings, ensemble)
    runs = settings.state.resolve() / "runs"
    with only_run(runs, UUID(flow_run.id)):
        if feedback:
            data = add_feedback(data, ensemble)
        budgets = budgets or Budgets()
        return _retrain(data, config, ensemble, runs, promote=promote, accept_anyway=accept_anyway, budgets=budgets)


def _retrain(
    data: Path,
    config: str,
    ensemble: EnsembleSpec,
    runs: Path,
    *,
    promote: bool,
    accept_anyway: str,
    budgets: Budgets,
) -> Outcome:
    digest = check_dataset(data, ensemble)
    run = train(data, ensemble, digest, config, runs)
    export = export_model(data, ensemble, run)
    decision = judge(data, ensemble, run, export, accept_anyway, budgets)
    if not decision.passed:
        refusal = GateRefusedError(f"{decision.sentence} It is kept in {run}.")
        # So the caller gets the error, and the log no traceback.
        return Failed(message=str(refusal), data=refusal)  # type: ignore[return-value]
    release = publish_release(export, ensemble)
    if promote:
        promote_release(release, ensemble, accept_anyway or "passed the gate")
    return Outcome(run, release, promote, decision.sentence)


@task(cache_policy=NO_CACHE)
def add_feedback(data: Path, ensemble: EnsembleSpec) -> Path:
    """The dataset with the corrections that people gave and a reviewer accepted; itself if there are none."""
    from flows.feedback.collection import with_corrections

    dataset = with_corrections(data, ensemble)
    if dataset != data:
        get_run_logger().info("%s is %s with the accepted corrections", dataset, data)
    return dataset


@task(cache_policy=NO_CACHE)
def check_dataset(data: Path, ensemble: EnsembleSpec) -> str:
    """Read and inspect the dataset; returns its digest."""
    from training.inspection import inspect

    inspection = inspect(data, ensemble)
    logger = get_run_logger()
    faults = [problem.message for problem in inspection.problems if problem.fatal]
    for problem in inspection.problems:
        logger.warning(problem.message)
    if inspection.dataset is None or faults:
        raise DatasetRefusedError(f"{data} cannot be trained with: {' '.join(faults) or 'it holds no examples.'}")
    counts = [{"split": split, **classes} for split, classes in inspection.counts.items()]
    create_table_artifact(counts, key="dataset", description=f"{inspection.dataset.name}, {inspection.dataset.digest}")
    logger.info("near-duplicates: %d, across splits: %d", len(inspection.duplicates), len(inspection.leaks))
    return inspection.dataset.digest


@task(cache_policy=NO_CACHE)
def train(data: Path, ensemble: EnsembleSpec, digest: str, config: str, runs: Path) -> Path:
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
    result = fit(settings, _open_dataset(data, ensemble), run, [_epoch_log(logger)])
    logger.info("Best epoch %d of %d", result.best_epoch + 1, len(result.history["loss"]))
    return run


def _epoch_log(logger: Logger | LoggingAdapter) -> keras.callbacks.Callback:
    """Tells Prefect's log of each epoch; Keras itself writes to the standard output alone."""
    import keras

    def tell(epoch: int, figures: dict[str, float]) -> None:
        logger.info("epoch %d: %s", epoch + 1, ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))

    return keras.callbacks.LambdaCallback(on_epoch_end=tell)


@task(cache_policy=NO_CACHE)
def export_model(data: Path, ensemble: EnsembleSpec, run: Path) -> Path:
    """Write the run's network as ONNX and SavedModel; returns the folder of the export."""
    from training.evaluate import onnx_metrics
    from training.export.release import candidate_of_run, export_release

    export = run / EXPORT_FOLDER
    try:
        ModelRepository(export).verify_release(ensemble, 1)
    except ServingError:
        split = _open_dataset(data, ensemble).validation
        export_release(candidate_of_run(run), export, 1, replace=True, measure=lambda path: onnx_metrics(path, split))
    return export


@task(cache_policy=NO_CACHE)
def judge(
    data: Path, ensemble: EnsembleSpec, run: Path, export: Path, accept_anyway: str, budgets: Budgets
) -> Decision:
    """Measure the candidate and the release that is served on the same examples, report, and decide."""
    from training.classifier import open_release
    from training.comparison import compare
    from training.evaluate import evaluate, pooled
    from training.report import write_report
    from training.run_record import read_run

    repository, dataset = working_copy(read_settings()), _open_dataset(data, ensemble)
    serving = repository.pointer(ensemble).release
    old = open_release(repository.path, serving, ensemble=ensemble)
    new = open_release(export, 1, ensemble=ensemble)
    split, is_speech = dataset.validation, ensemble.input == AUDIO
    before, after = (evaluate(model, dataset, corruptions=()) for model in (old, new))
    (whole, first), (_, second) = (pooled(split, model.predict(split.examples)) for model in (old, new))
    decision = decide(
        after,
        before,
        compare(first, second, whole.labels),
        release=serving,
        merit="UAR" if is_speech else "accuracy",
        budgets=budgets,
        accept_anyway=accept_anyway,
    )
    write_durably(run / DECISION_FILE, json.dumps(decision.as_json(), indent=2).encode())
    page = write_report(run, after, None if is_speech else split.examples, read_run(run))
    _show(after, decision, page, run)
    get_run_logger().info(decision.sentence)
    return decision


@task(cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1)
def publish_release(export: Path, ensemble: EnsembleSpec) -> int:
    """Put the export into the server's repository; returns its number. The same files keep the number they have."""
    published = publish(export, working_copy(read_settings()), ensemble)
    number = published.manifest.release
    get_run_logger().info("release %d%s", number, "" if published.is_new else ", as it was published before")
    return number


@task(cache_policy=NO_CACHE)
def promote_release(release: int, ensemble: EnsembleSpec, reason: str) -> None:
    """Serve the release, unless that is what is served."""
    settings = read_settings()
    if working_copy(settings).pointer(ensemble).release == release:
        get_run_logger().info("release %d is served already", release)
        return
    with promoter_of(settings, ensemble) as promoter:
        promotion = promoter.promote(release, reason=reason)
    get_run_logger().info("release %d is served; that took %.2g s", release, promotion.swap_s)


@lru_cache(maxsize=1)
def _open_dataset(data: Path, ensemble: EnsembleSpec) -> Dataset:
    """Tasks are given paths and digests, not arrays; within a process the examples are read once."""
    from training.dataset import load

    return load(data, ensemble)


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
            "examples": one.support,
        }
        for one in report.classes
    ]
    title = (
        f"accuracy {report.accuracy:.4f}, macro-F1 {report.macro_f1:.4f}, UAR {report.macro_recall:.4f},"
        f" calibration error {report.ece:.3f}"
    )
    create_table_artifact(rows, key="metrics", description=f"{title}, on {report.examples} validation examples")
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
