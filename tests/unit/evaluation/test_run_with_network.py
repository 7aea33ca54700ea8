"""A run with the real trainer, of a step a case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from learner.errors import ConfigurationError
from learner.evaluation.modes import Mode
from learner.evaluation.run import Progress
from learner.evaluation.runs import compute
from learner.evaluation.settings import RunSettings
from learner.evaluation.streams import TaskData
from learner.wiring import evaluation_makers


class BrokenOff(Exception):
    """Somebody pulled the plug."""


@pytest.fixture
def settings(blob_folders: Path) -> RunSettings:
    task = TaskData("blob", blob_folders / "images", blob_folders / "labels", slices=3, stream=3, test=1)
    return RunSettings((task,), steps=1, first_steps=2, rounds=1, test_every=1, training=(("precision", "fp32"),))


@pytest.mark.parametrize("mode", [Mode.SPARSE, Mode.OFFLINE])
def test_broken_off_and_resumed_the_network_says_the_same(settings: RunSettings, tmp_path: Path, mode: Mode) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise BrokenOff

    settings = replace(settings, mode=mode)
    whole = compute(settings, tmp_path / "whole", evaluation_makers(), lambda _: None)
    with pytest.raises(BrokenOff):
        compute(settings, tmp_path / "broken", evaluation_makers(), stop)
    resumed = compute(settings, tmp_path / "broken", evaluation_makers(), lambda _: None)
    assert resumed.tests == whole.tests
    assert [case.answer_dice for case in resumed.cases] == [case.answer_dice for case in whole.cases]
    assert [test.after for test in whole.tests] == [1, 2, 3]


def test_a_training_setting_that_is_none_is_named(settings: RunSettings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no training setting 'magic'"):
        compute(replace(settings, training=(("magic", 1),)), tmp_path, evaluation_makers(), lambda _: None)
