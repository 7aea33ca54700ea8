"""The only place that names concrete adapters: from settings to a node, or to its trainer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import psutil
import structlog

from dicom_io.pacs.inbox import Inbox
from dicom_io.pacs.port import Archive
from dicom_io.whole_files import PLAIN, WholeFiles, write_whole
from learner.app.acceptance import Acceptance
from learner.app.compute import Compute
from learner.app.forgetting import ForgottenStudies, Purge
from learner.app.gate import Gate, GateSettings
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.learn import Learn, LearnSettings
from learner.app.patients import PatientLinks
from learner.app.precedence import Precedence
from learner.app.priors import PriorStudies
from learner.app.refusal import Refusals
from learner.app.respond import Respond, RespondSettings
from learner.app.results import ResultSettings
from learner.app.retention import Retention
from learner.app.retention import RetentionSettings as KeptFor
from learner.app.serving import LoadNetwork, ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook, remember_labels
from learner.app.worker import Worker
from learner.domain.contract import ContractNames
from learner.domain.gate import Verdict
from learner.domain.task import Task
from learner.errors import ConfigurationError, FolderInUse, StoreUnavailable
from learner.guidance import make_guidance_rule
from learner.memory.files import ExampleFiles
from learner.memory.replay import ReplayMemory
from learner.node import Housekeeping, Node
from learner.operations import compare_versions
from learner.ports import GuidanceRule, Network, PriorCarrier, Propagator, Trainer
from learner.propagation import make_propagator
from learner.propagation.memory import clear_memories
from learner.settings import ContractSettings, LearningSettings, Settings
from learner.storage.disk import shortage
from learner.storage.store import LocalStore, SystemClock
from learner.task_files import load_tasks
from learner.trainer_process import Parent, TrainerProcess
from learner.wiring.archive import build_receiving, build_sink

if TYPE_CHECKING:
    from learner.evaluation.run import Makers
    from learner.model.settings import TrainingSettings
    from learner.model.trainer import OnlineTrainer

_MIB = 2**20
_Made = TypeVar("_Made")
_log = structlog.get_logger(__name__)


def build_store(settings: Settings) -> LocalStore:
    """The node's store."""
    node, keep = settings.node, settings.learning.keep_checkpoints
    return LocalStore(node.data, keep_checkpoints=keep, key_file=node.encryption_key_file)


def build_tasks(settings: Settings, store: LocalStore) -> TaskBook:
    """Configured tasks, and those that annotations made; a configured one goes before one of the same name."""
    configured = load_tasks(settings.tasks.folder)
    names = {task.task_id for task in configured}
    return TaskBook([*configured, *(task for task in store.records.kept_tasks() if task.task_id not in names)])


def build_node(settings: Settings, configuration: Path) -> Node:
    """A node, not started yet.

    Args:
        settings: of the node.
        configuration: the file that they come from; the trainer reads it again.

    Raises:
        ApprenticeError: settings or store cannot be used.
    """
    propagator = build_propagator(settings.answer.propagator)
    store = build_store(settings)
    removed = store.take()
    if removed:
        _log.info("files of an interrupted process removed", files=removed)
    tasks = build_tasks(settings, store)
    remember_labels(tasks, store.records)
    if any(task.warm_start for task in tasks):
        from learner.export.warm_start import install  # noqa: PLC0415 - torch takes a second to import

        install(store, list(tasks), settings.learning)
    archive, scp = build_receiving(settings, store)
    images = SeriesImages(archive, settings.answer.image_cache_mb * _MIB)
    choice = TaskChoice(tasks, store, from_annotations=settings.tasks.from_annotations)
    key = case_key(settings.node.data)
    housekeeping = build_housekeeping(settings, store, archive)
    housekeeping.purge.clears(images.clear, clear_memories)
    forgotten = housekeeping.forgotten
    links = PatientLinks(store, key) if settings.answer.from_prior_study else None
    priors = PriorStudies(links, archive, store, images) if links is not None else None
    networks = ServingNetworks(store, network_loader(settings.answer.threads))
    compute = Compute(
        Subjects(archive, store, images, choice, contract_names(settings.contract), priors, forgotten),
        store,
        propagator,
        networks,
        key,
        ResultSettings(frozenset(settings.answer.results), settings.answer.report_class, settings.absolute_viewer_url),
        build_own_propagators(tasks),
        build_carrier() if links is not None else None,
        build_guidance_rule(settings.answer.guidance),
    )
    respond_settings = RespondSettings(attempts=settings.answer.attempts, keep_superseded=settings.answer.keep_superseded)
    refusals = Refusals(archive, tasks) if settings.contract.report_refusals else None
    sink, mark = build_sink(settings.pacs, archive), next(iter(settings.contract.reviewed), "")
    idle = partial(networks.make_ready, tasks)
    respond = Respond(archive, sink, store, compute, respond_settings, SystemClock(), refusals, idle)
    acceptance = Acceptance(archive, sink, store, images, tasks, mark, SystemClock())
    purges, undrawn = settings.learning.on_pacs_delete == "purge", settings.answer.undrawn_queue
    precedence = Precedence(settings.node.archive_first_s, idle_cores)
    intake = Intake(
        *(archive, store, tasks, links, forgotten),
        forgets_deleted=purges,
        most_undrawn=undrawn,
        arrived=precedence.arrived,
    )
    trainer = TrainerProcess(configuration)
    return Node(settings, store, tasks, intake, respond, trainer, scp, acceptance, housekeeping, precedence)


def idle_cores() -> float:
    """Cores of the machine that nobody used since it was last asked."""
    return float((psutil.cpu_count() or 1) * (1 - psutil.cpu_percent(interval=None) / 100))


def build_housekeeping(settings: Settings, store: LocalStore, archive: Archive) -> Housekeeping:
    """What a node does between two answers, and what `apprentice forget` does where no node runs."""
    replay = settings.node.data / "replay"

    def forget_examples(keys: Collection[str]) -> int:
        return sum(ExampleFiles(folder, store.vault).remove_cases(keys) for folder in replay.glob("*"))

    spool = archive.purge_study if isinstance(archive, Inbox) else None
    retention = Retention(store, KeptFor(**settings.retention.model_dump()), SystemClock())
    return Housekeeping(
        ForgottenStudies(store, case_key(settings.node.data)),
        Purge(store, archive, SystemClock(), forget_examples, spool),
        retention,
    )


def contract_names(settings: ContractSettings) -> ContractNames:
    """The words of the annotation contract."""
    return ContractNames(settings.reviewed, settings.complete, settings.strokes, settings.background)


def run_trainer(settings: Settings) -> None:
    """The trainer's whole life: learns until it is told to stop, or its parent is gone."""
    stop = threading.Event()
    parent = Parent(stop)
    store = build_store(settings)
    if not take_training(store, stop):
        return
    learn_settings = LearnSettings(settings.learning.steps, settings.learning.idle_steps, attempts=settings.answer.attempts)
    factory, gate = trainer_factory(settings, build_tasks(settings, store), store.vault), build_gate(settings, store)
    room, key = partial(shortage, settings.node.data, settings.node.min_free_mb), case_key(settings.node.data)
    learn = Learn(store, factory, gate, learn_settings, stop.is_set, stop.wait, SystemClock(), key, room, parent.held)
    worker = Worker("learn", learn.run_once, idle_s=0.5, expected=(StoreUnavailable,))
    worker.start()
    stop.wait()
    worker.stop()
    store.close()  # the next trainer may begin, while this process still takes its libraries down


def take_training(store: LocalStore, stop: threading.Event) -> bool:
    """Takes training for this process, once the trainer of a node that was killed has ended; says whether it has it."""
    told = False
    while not stop.is_set():
        try:
            removed = store.take_training()
        except FolderInUse:
            if not told:
                _log.warning("learning waits for another trainer")
            told = True
            stop.wait(0.2)
            continue
        if removed:
            _log.info("files of an interrupted trainer removed", files=removed)
        return True
    return False


def build_gate(settings: Settings, store: LocalStore) -> Gate:
    """The gate in front of what answers."""
    held = GateSettings(settings.learning.gate_cases, settings.learning.gate_every)
    return Gate(store, network_loader(settings.learning.threads), held)


def compare(settings: Settings, store: LocalStore, tasks: TaskBook, model_id: str, names: tuple[str, str]) -> Verdict:
    """Two versions of a model on the cases that are held back, the second as the candidate; imports torch.

    Raises:
        NoSuchVersion: one of them is not there.
        NothingHeld: no case is held back.
    """
    counts = {task.task_id: len(task.labels) for task in tasks}
    return compare_versions(store, build_gate(settings, store), model_id, names, counts)


def trainer_factory(settings: Settings, tasks: TaskBook, files: WholeFiles) -> Callable[[str, Mapping[str, int]], Trainer]:
    """Makes the trainer of a model, for all the labels of all of its tasks; an example may be from before one gained some."""

    def make(model_id: str, label_counts: Mapping[str, int]) -> Trainer:
        counts = dict(label_counts)
        for task in tasks:
            if task.model_id == model_id:
                counts[task.task_id] = max(counts.get(task.task_id, 0), len(task.labels))
        folder = settings.node.data / "replay" / model_id
        return make_trainer(counts, settings.learning, folder, files)

    return make


def make_trainer(
    labels: Mapping[str, int], settings: LearningSettings, replay: Path, files: WholeFiles = PLAIN
) -> OnlineTrainer:
    """A new trainer of a model with these tasks and numbers of labels, its replay memory in a folder; imports torch."""
    from learner.model.settings import training_settings  # noqa: PLC0415 - torch takes a second to import
    from learner.model.trainer import OnlineTrainer  # noqa: PLC0415

    memory = ReplayMemory(replay, settings.replay_mb * _MIB, files=files)
    return OnlineTrainer(labels, training_settings(settings), memory, settings.seed)


def build_own_propagators(tasks: Iterable[Task]) -> dict[str, Propagator]:
    """The propagation methods of tasks that name one, by task; tasks with the same method share it and what it remembers.

    Raises:
        ConfigurationError: a task names one that there is not; names the task.
    """
    made: dict[str, Propagator] = {}
    for task in tasks:
        if task.propagator and task.propagator not in made:
            try:
                made[task.propagator] = build_propagator(task.propagator)
            except ConfigurationError as error:
                raise ConfigurationError(f"task {task.task_id}: {error}") from None
    return {task.task_id: made[task.propagator] for task in tasks if task.propagator}


def build_propagator(name: str) -> Propagator:
    """The propagation method of that name.

    Raises:
        ConfigurationError: there is none, or it cannot be used here; lists those that there are.
    """
    return _chosen("propagator", make_propagator, name)


def build_guidance_rule(name: str) -> GuidanceRule:
    """The guidance rule of that name.

    Raises:
        ConfigurationError: there is none, or it cannot be used here; lists those that there are.
    """
    return _chosen("answer.guidance", make_guidance_rule, name)


def _chosen(setting: str, make: Callable[[str], _Made], name: str) -> _Made:
    """What a setting names; what is wrong with it is said with the setting's name."""
    try:
        return make(name)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def build_carrier() -> PriorCarrier:
    """What carries prior studies to new ones."""
    from learner.propagation.prior_study import StudyRegistration  # noqa: PLC0415 - SimpleITK takes a while to import

    return StudyRegistration()


def network_loader(threads: int) -> LoadNetwork:
    """Makes a network of a checkpoint's state, for a task and its number of labels; imports torch at its first use."""

    def load(state: bytes, task_id: str, label_count: int) -> Network:
        from learner.model.serving import load_network  # noqa: PLC0415 - torch takes a second to import

        return load_network(state, task_id, label_count, threads=threads)

    return load


def case_key(folder: Path) -> Callable[[str], str]:
    """Keyed hash of what identifies a case; the key stands in the data folder, readable by the node's user alone."""
    path = folder / "case-key"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, secrets.token_bytes(32))
        path.chmod(0o600)
    key = path.read_bytes()
    return lambda text: hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def evaluation_makers() -> Makers:
    """What a run of the evaluation is made of: the same trainer and front ends as a node's. Imports torch."""
    from learner.evaluation.run import Makers, TrainerOrder  # noqa: PLC0415 - torch takes a second to import
    from learner.model.settings import TrainingSettings  # noqa: PLC0415
    from learner.model.trainer import OnlineTrainer  # noqa: PLC0415

    def trainer(order: TrainerOrder) -> OnlineTrainer:
        settings = changed(TrainingSettings(), order.changes)
        memory = ReplayMemory(order.replay, order.replay_mb * _MIB, order.seed)
        return OnlineTrainer(order.labels, settings, memory, order.seed)

    return Makers(trainer, build_propagator)


def changed(settings: TrainingSettings, changes: Mapping[str, bool | float | str]) -> TrainingSettings:
    """Training settings with some of them changed; a number becomes of the kind that the setting is of.

    Raises:
        ConfigurationError: if there is no setting of that name.
    """
    known = {f.name: getattr(settings, f.name) for f in fields(settings)}
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise ConfigurationError(f"there is no training setting {unknown[0]!r}; there are {', '.join(sorted(known))}")
    numbers = {
        name: type(known[name])(value) if isinstance(known[name], bool | int | float) else value
        for name, value in changes.items()
    }
    return replace(settings, **numbers)  # type: ignore[arg-type]  # each of the kind of its default
