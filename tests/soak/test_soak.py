"""Five annotations, six kills, and the same weights as without; ``./run soak`` has two hundred and a hundred."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from soak_driver import Moment, Victim
from soak_look import Stage
from soak_runner import soak
from soak_story import story

MOMENTS = (
    Moment(Victim.LEARNER, Stage.WRITTEN),
    Moment(Victim.ORTHANC, Stage.SOME_SENT),
    Moment(Victim.TRAINER, Stage.CHECKPOINT),
    Moment(Victim.LEARNER, Stage.DECIDED),
    Moment(Victim.TRAINER, Stage.LEARNING),
)


@pytest.mark.orthanc
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_what_is_killed_loses_and_doubles_nothing_and_learns_the_same(tmp_path: Path) -> None:
    if not Path("/usr/sbin/Orthanc").exists():
        pytest.skip("Orthanc absent: apt-get install --no-install-recommends orthanc orthanc-python orthanc-dicomweb")
    acts = list(story(5, seed=3, shape=(12, 32)))
    found = soak(tmp_path, acts, seed=3, random_kills=1, moments=MOMENTS, progress=False)
    shutil.rmtree(tmp_path)
    assert found.findings == []
    assert len(found.kills) >= len(MOMENTS)
