"""A task may gain labels; any other change of its labels would give stored drawings another meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from learner.app.tasks import remember_labels
from learner.domain.task import Label, MatchingRule, Task
from learner.errors import ConfigurationError
from learner.storage.store import LocalStore


def task(*names: str) -> Task:
    labels = tuple(
        Label(number, name, ANATOMICAL_STRUCTURE, Code(f"L-{name}", "99TEST", name), (1, 2, 3))
        for number, name in enumerate(names, start=1)
    )
    return Task("organs", "Organs", labels, MatchingRule(("MR",)))


def test_labels_are_remembered_and_may_be_added_at_the_end(tmp_path: Path) -> None:
    records = LocalStore(tmp_path).records
    for wanted in (task("liver"), task("liver"), task("liver", "spleen")):
        remember_labels([wanted], records)
        assert records.labels_of("organs") == wanted.labels


@pytest.mark.parametrize("changed", [task("liver"), task("spleen", "liver"), task("liver", "kidney"), task("kidney", "spleen")])
def test_any_other_change_is_refused_and_what_was_remembered_stays(tmp_path: Path, changed: Task) -> None:
    records = LocalStore(tmp_path).records
    remember_labels([task("liver", "spleen")], records)
    with pytest.raises(ConfigurationError, match="had the labels liver, spleen"):
        remember_labels([changed], records)
    assert records.labels_of("organs") == task("liver", "spleen").labels
