"""One node that was taught, and one export of it, for all tests of exports."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from taught_node import TASK, Exported, TaughtNode

from learner.export.exporting import PARTS, ExportOrder, export, pick_version


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
