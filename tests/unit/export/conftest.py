"""One node that was taught, and one export of it, for all tests of exports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from taught_node import TASK, TaughtNode

from learner.domain.checkpoint import Checkpoint
from learner.export.exporting import PARTS, ExportOrder, export, pick_version
from learner.export.nnunet import NnUNetReport


@dataclass(frozen=True)
class Exported:
    """A node, what was exported from it, and the version that it was."""

    checkpoint: Checkpoint
    node: TaughtNode
    folder: Path
    report: NnUNetReport


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    torch.set_num_threads(1)
    node = TaughtNode(tmp_path_factory.mktemp("node"))
    node.teach(1)
    node.teach(2)
    folder = tmp_path_factory.mktemp("out") / "export"
    checkpoint = pick_version(node.store, TASK)
    report = export(ExportOrder(TASK, checkpoint, PARTS, folder), node.surroundings)
    assert report is not None
    yield Exported(checkpoint, node, folder, report)
    node.store.close()
