"""The only place that names concrete adapters: from settings to a node, or to its trainer."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import structlog

from dicom_io.pacs.dicomweb import DicomWebSink
from dicom_io.pacs.dimse import DimseSink
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.pacs.port import Sink
from learner.app.compute import Compute
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.learn import Learn, LearnSettings
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.app.worker import Worker
from learner.errors import ConfigurationError
from learner.memory.replay import ReplayMemory
from learner.node import Node
from learner.ports import Network, Propagator, Trainer
from learner.propagation import make_propagator
from learner.settings import LearningSettings, PacsSettings, Settings, load_tasks, read_secret
from learner.storage.files import write_whole
from learner.storage.store import LocalStore, SystemClock
from learner.trainer_process import TrainerProcess, stop_with_parent

if TYPE_CHECKING:
    from learner.model.trainer import OnlineTrainer

_MIB = 2**20
_log = structlog.get_logger(__name__)


def build_archive(settings: PacsSettings) -> OrthancArchive:
    """The archive that is read."""
    return OrthancArchive(settings.url, settings.user, read_secret(settings.password_file), timeout=settings.timeout_s)


def build_sink(settings: PacsSettings, archive: OrthancArchive) -> Sink:
    """The way in which results are stored."""
    if settings.store_by == "dicomweb":
        root = urljoin(settings.url, settings.dicomweb_root)
        return DicomWebSink(root, settings.user, read_secret(settings.password_file))
    if settings.store_by == "dimse":
        return DimseSink(settings.dimse_host, settings.dimse_port, settings.called_aet, settings.calling_aet)
    return archive


def build_store(settings: Settings) -> LocalStore:
    """The node's store."""
    return LocalStore(settings.node.data, keep_checkpoints=settings.learning.keep_checkpoints)


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
    archive = build_archive(settings.pacs)
    compute = Compute(
        archive,
        store,
        SeriesImages(archive, settings.answer.image_cache_mb * _MIB),
        TaskChoice(tasks, store, from_annotations=settings.tasks.from_annotations),
        propagator,
        ServingNetworks(store, network_loader(settings.answer.threads)),
        case_key(settings.node.data),
        residual_map=settings.answer.residual_map,
    )
    respond_settings = RespondSettings(attempts=settings.answer.attempts, keep_superseded=settings.answer.keep_superseded)
    respond = Respond(archive, build_sink(settings.pacs, archive), store, compute, respond_settings, SystemClock())
    return Node(settings, store, tasks, Intake(archive, store, tasks), respond, TrainerProcess(configuration))


def run_trainer(settings: Settings) -> None:
    """The trainer's whole life: learns until it is told to stop, or its parent is gone."""
    stop = threading.Event()
    stop_with_parent(stop)
    store = build_store(settings)
    learn_settings = LearnSettings(settings.learning.steps, attempts=settings.answer.attempts)
    learn = Learn(store, trainer_factory(settings), learn_settings, stop.is_set, stop.wait, SystemClock())
    worker = Worker("learn", learn.run_once, idle_s=0.5)
    worker.start()
    stop.wait()
    worker.stop()


def trainer_factory(settings: Settings) -> Callable[[str, int], Trainer]:
    """Makes the trainer of a task."""

    def make(task_id: str, label_count: int) -> Trainer:
        folder = settings.node.data / "replay" / task_id
        return make_trainer(label_count, settings.learning, settings.answer.propagator, folder)

    return make


def make_trainer(label_count: int, settings: LearningSettings, propagator: str, replay: Path) -> OnlineTrainer:
    """A new trainer with its replay memory in a folder; imports torch."""
    from learner.model.settings import TrainingSettings  # noqa: PLC0415 - torch takes a second to import
    from learner.model.trainer import OnlineTrainer  # noqa: PLC0415

    memory = ReplayMemory(replay, settings.replay_mb * _MIB)
    training = TrainingSettings(threads=settings.threads)
    return OnlineTrainer(label_count, training, memory, build_propagator(propagator), settings.seed)


def build_propagator(name: str) -> Propagator:
    """The propagation method of that name.

    Raises:
        ConfigurationError: if there is none; lists those that there are.
    """
    try:
        return make_propagator(name)
    except ValueError as error:
        raise ConfigurationError(f"propagator: {error}") from None


def network_loader(threads: int) -> Callable[[bytes], Network]:
    """Makes a network of a checkpoint's state; imports torch at its first use."""

    def load(state: bytes) -> Network:
        from learner.model.serving import load_network  # noqa: PLC0415 - torch takes a second to import

        return load_network(state, threads=threads)

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
