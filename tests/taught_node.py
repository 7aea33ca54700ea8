"""A node that was taught a little, all in memory but for its store: real annotations, real answers, a real network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node_harness import SEGMENTS, now, phantom

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries
from learner.app.compute import Compute
from learner.app.forgetting import ForgottenStudies, Purge
from learner.app.gate import Gate, GateSettings
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.learn import Learn, LearnSettings
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.demo.reader import Reader
from learner.domain.checkpoint import Checkpoint
from learner.domain.contract import ContractNames
from learner.domain.task import Label, MatchingRule, Task
from learner.export.exporting import Surroundings
from learner.export.nnunet import NnUNetReport
from learner.memory.files import ExampleFiles
from learner.memory.replay import ReplayMemory
from learner.model.serving import load_network
from learner.model.settings import TrainingSettings
from learner.model.trainer import OnlineTrainer
from learner.ports import Network, Trainer
from learner.propagation import make_propagator
from learner.storage.store import LocalStore, SystemClock

LABEL = Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (1, 2, 3))
TASK = Task("prostate", "Prostate, whole gland", (LABEL,), MatchingRule(("MR",)))
TRAINING = TrainingSettings(precision="fp32", device="cpu", first_case_steps=8)
READERS = ("Quillfeather^A", "Zanderholt^B")


def case_key(text: str) -> str:
    """A hash without a key; enough for tests."""
    return hashlib.sha256(text.encode()).hexdigest()


class TaughtNode:
    """Two series, on each of which somebody drew two slices; learned from in a few steps."""

    def __init__(
        self,
        folder: Path,
        training: TrainingSettings = TRAINING,
        key_file: Path | None = None,
        archive: MemoryArchive | None = None,
    ) -> None:
        self.folder, self.training = folder, training
        self.archive, self.store = archive or MemoryArchive(), LocalStore(folder, key_file=key_file)
        self.tasks = TaskBook([TASK])
        propagator = make_propagator("chained-flow")
        self.surroundings = Surroundings(self.store, self.archive, propagator, case_key, folder / "replay" / "prostate")
        self.forgotten = ForgottenStudies(self.store, case_key)
        self.intake = Intake(self.archive, self.store, self.tasks, None, self.forgotten)
        choice = TaskChoice(self.tasks, self.store, from_annotations=False)
        images = SeriesImages(self.archive, 2**24)
        subjects = Subjects(self.archive, self.store, images, choice, ContractNames(), None, self.forgotten)
        compute = Compute(subjects, self.store, propagator, ServingNetworks(self.store, _load), case_key)
        examples = ExampleFiles(folder / "replay" / "prostate", self.store.vault)
        self.purge = Purge(self.store, self.archive, SystemClock(), examples.remove_cases)
        self.purge.clears(images.clear)
        self._respond = Respond(self.archive, self.archive, self.store, compute, RespondSettings(), SystemClock())
        gate = Gate(self.store, _load, GateSettings())
        self._learn = Learn(
            self.store, self._trainer, gate, LearnSettings(4), lambda: False, lambda _seconds: None, SystemClock(), case_key
        )
        self.images: list[ImageSeries] = []

    def teach(self, number: int, slices: int = 10) -> None:
        """A new series arrives, a reader draws on it, it is answered and learned from."""
        files, truth_DHW = phantom(slices=slices, size=48, seed=number, number=number)
        for file in files:
            self.archive.store(file)
        self.archive.settle()
        self.images.append(read_series(files))
        reader = Reader(self.images[-1], truth_DHW, SEGMENTS, READERS[(number - 1) % 2])
        self.archive.store(reader.draw([3, 6], now()))
        self.work()

    def work(self) -> None:
        """Everything that there is to do."""
        self.intake.catch_up()
        self.intake.reconcile()
        while self._respond.run_once() or self._learn.run_once():
            pass

    def _trainer(self, _model: str, labels: Mapping[str, int]) -> Trainer:
        memory = ReplayMemory(self.folder / "replay" / "prostate", 2**26, files=self.store.vault)
        return OnlineTrainer(labels, self.training, memory, 1)


def _load(state: bytes, task_id: str, label_count: int) -> Network:
    return load_network(state, task_id, label_count, threads=1, device="cpu")


@dataclass(frozen=True)
class Exported:
    """A node, what was exported from it, and the version that it was."""

    checkpoint: Checkpoint
    node: TaughtNode
    folder: Path
    report: NnUNetReport
