"""Plays a story to a real node and kills its processes meanwhile: at random moments, and at named ones."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO
from pathlib import Path

from node_harness import RunningNode, is_gone, running_node, wait_for
from pydicom import dcmread
from soak_look import Look, Stage, Watch
from soak_state import Outcome, inconsistencies, outcome
from soak_story import Act

from learner.demo.orthanc import LocalOrthanc

PATIENCE_S = 300.0
"""Longest wait for an annotation to be answered and learned."""
_LINGER_S = 0.03
"""For so long after a change the state is looked at again and again, while a named moment is waited for."""
_CASE_KEY = bytes(range(32))
"""Decides which cases are held back and remembered: the same in all runs that are compared."""
_SETTINGS = "replay_mb = 4\nkeep_checkpoints = 3"
"""So little that old cases and versions go while the story is played."""


class Victim(StrEnum):
    """What is killed."""

    LEARNER = "learner"
    TRAINER = "trainer"
    ORTHANC = "Orthanc"


@dataclass(frozen=True)
class Moment:
    """A named moment: which process dies at which stage."""

    victim: Victim
    stage: Stage


@dataclass(frozen=True)
class Kill:
    """One that happened.

    Attributes:
        act: number of the annotation in hand.
        victim: what was killed.
        stage: how far the annotation had come; as the victim left it.
        named: whether this moment was waited for.
    """

    act: int
    victim: Victim
    stage: Stage
    named: bool


MOMENTS = tuple(
    Moment(victim, stage)
    for victim, stages in {
        Victim.TRAINER: (Stage.RECORDED, Stage.CHECKPOINT, Stage.REMEMBERED, Stage.LEARNING, Stage.LEARNED, Stage.ANSWERING),
        Victim.LEARNER: (
            *(Stage.CLOSED, Stage.ALL_SENT, Stage.SOME_SENT, Stage.DECIDED, Stage.WRITTEN, Stage.ANSWERING, Stage.TAKEN_IN),
            *(Stage.STORED, Stage.LEARNING, Stage.CHECKPOINT, Stage.LEARNED),
        ),
        Victim.ORTHANC: (*(Stage.STORED, Stage.ANSWERING, Stage.DECIDED, Stage.SOME_SENT, Stage.ALL_SENT), Stage.LEARNING),
    }.items()
    for stage in stages
)
_ORDER = list(Stage)
_BRIEF = (Stage.CLOSED, Stage.RECORDED)
"""Over within a millisecond: the victim goes through the stage before in steps, stopped and looked at again and again."""


@dataclass
class Killer:
    """Decides who dies when, and kills.

    Attributes:
        rng: of random moments.
        moments: named ones that are still to come.
        random_kills: at random moments that are still to come.
        acts: annotations that are still to come.
        kills: what happened.
        missed: how often a named moment had passed before it was seen; it is tried again.
    """

    rng: random.Random
    moments: list[Moment]
    random_kills: int
    acts: int
    kills: list[Kill] = field(default_factory=list)
    missed: int = 0

    def plan(self, usual_s: float) -> tuple[Moment | None, list[tuple[float, Victim]]]:
        """What is to happen during the next annotation: a named moment, and times of random ones in seconds."""
        share = self.random_kills / max(1, self.acts)
        count = min(self.random_kills, int(share) + (self.rng.random() < share % 1))
        self.acts -= 1
        self.random_kills -= count
        times = sorted(self.rng.uniform(0, 1.2 * usual_s) for _ in range(count))
        return (self.moments[0] if self.moments else None), [(one, self.rng.choice(list(Victim))) for one in times]


class Player:
    """Plays a story to a running node.

    Args:
        node: the node.
        killer: kills meanwhile; None lets everybody live.
        usual_s: about how long an annotation takes.
    """

    def __init__(self, node: RunningNode, killer: Killer | None = None, usual_s: float = 2.0) -> None:
        self._node, self._killer, self._usual_s = node, killer, usual_s
        self._look, self._watch = Look(node.folder / "data"), Watch(node.folder / "data")
        self._act, self._number, self._replay = Act((), b"", ""), 0, frozenset[str]()
        self.seconds: list[float] = []
        self.sent: set[str] = set()

    def play(self, act: Act) -> None:
        """One annotation: sent once all before is learned; comes back once it is answered and learned."""
        self._number += 1
        self._act, self._replay = act, self._look.replay()
        moment, times = self._killer.plan(self._usual_s) if self._killer is not None else (None, [])
        self._send_series(act)
        began = time.monotonic()
        self._node.archive.store(act.drawing)
        self.sent.add(_series_uid(act.drawing))
        due = [(began + after, victim) for after, victim in times]
        while moment is not None or due or not self._done():
            assert time.monotonic() < began + PATIENCE_S + 60 * len(times), f"annotation {self._number}: {self._stage()}"
            if moment is not None:
                moment = self._wait_for(moment)
            elif due and time.monotonic() >= due[0][0]:
                self._kill(due.pop(0)[1], named=False)
            else:
                self._watch.wait(0.05)
        self.seconds.append(time.monotonic() - began)

    def _send_series(self, act: Act) -> None:
        if not act.series:
            return
        uid = _series_uid(act.series[0])
        self.sent.add(uid)
        self._node.send(list(act.series))
        wait_for(
            lambda: self._look.rows(f"SELECT 1 FROM series WHERE series_uid = '{uid}'"), "the series to be taken in", PATIENCE_S
        )
        wait_for(lambda: not self._open_jobs(), "round 0", PATIENCE_S)

    def _done(self) -> bool:
        return self._stage() is Stage.LEARNED and not self._open_jobs()

    def _open_jobs(self) -> list[tuple[object, ...]]:
        return self._look.rows("SELECT 1 FROM jobs WHERE state <> 'done'")

    def _stage(self) -> Stage:
        return self._look.stage(self._act.trigger, self._replay)

    def _wait_for(self, moment: Moment) -> Moment | None:
        """Waits until something changes; near the moment looks closely for a while, and kills at it. None once it is over."""
        assert self._killer is not None
        ahead = _ORDER.index(moment.stage) - _ORDER.index(self._stage())
        if ahead > 1 + (moment.stage in _BRIEF):
            self._watch.wait(0.05)
            return moment
        end = time.monotonic() + _LINGER_S
        while ahead >= 0 and time.monotonic() < end:
            near = ahead == 0 or (ahead == 1 and moment.stage in _BRIEF)
            stage = self._frozen_stage(moment) if near else self._stage()
            if near and stage is moment.stage:
                self._killer.moments.remove(moment)
                return None
            ahead = _ORDER.index(moment.stage) - _ORDER.index(stage)
        if ahead < 0:
            self._killer.missed += 1
            self._killer.moments.append(self._killer.moments.pop(0))
            return None
        if moment.stage not in _BRIEF:
            self._watch.wait(0.05)
        return moment

    def _frozen_stage(self, moment: Moment) -> Stage:
        """The stage, with the victim stopped while we look; it dies if the moment has come, and goes on a little if not."""
        pid = self._pid(moment.victim)
        if not pid:
            return _ORDER[_ORDER.index(moment.stage) - 1]
        os.kill(pid, signal.SIGSTOP)
        try:
            stage = self._stage()
            if stage is moment.stage:
                self._kill(moment.victim, named=True)
        except sqlite3.OperationalError:  # stopped in the middle of a commit: nobody can read then
            return _ORDER[_ORDER.index(moment.stage) - 1]
        else:
            return stage
        finally:
            if not is_gone(pid):
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.00005)  # so much of the victim's work at a time

    def _pid(self, victim: Victim) -> int:
        if victim is Victim.TRAINER:
            return self._node.trainer_pid
        if victim is Victim.ORTHANC:
            return self._node.orthanc.pid or 0
        assert self._node.process is not None
        return self._node.process.pid

    def _kill(self, victim: Victim, *, named: bool) -> None:
        """Kills, notes how far things had come, and starts again what does not start by itself."""
        assert self._killer is not None
        pid = wait_for(lambda: self._pid(victim), f"the {victim}")
        os.kill(pid, signal.SIGKILL)
        if victim is Victim.ORTHANC:
            self._node.orthanc.kill()
        elif victim is Victim.LEARNER:
            self._node.kill()
        wait_for(lambda: is_gone(pid), f"the {victim}'s end")
        self._killer.kills.append(Kill(self._number, victim, self._stage(), named))
        if victim is Victim.ORTHANC:
            self._node.orthanc.start()
        elif victim is Victim.LEARNER:
            self._node.start()

    def close(self) -> None:
        self._watch.close()
        self._look.close()


def _series_uid(file: bytes) -> str:
    return str(dcmread(BytesIO(file), stop_before_pixels=True).SeriesInstanceUID)


@dataclass(frozen=True)
class Run:
    """What a run of a story came to.

    Attributes:
        outcome: to be compared with another run.
        inconsistencies: what does not agree at its end, in words.
        seconds: how long each annotation took, kills included.
    """

    outcome: Outcome
    inconsistencies: Sequence[str]
    seconds: Sequence[float]


@contextmanager
def soaked_node(folder: Path) -> Iterator[RunningNode]:
    """A node of small means in a folder, its archive beside it."""

    def make_orthanc(**options: object) -> LocalOrthanc:
        return LocalOrthanc(folder / "orthanc", credentials={"apprentice": "only-for-tests"}, **options)  # type: ignore[arg-type]

    data = folder / "node" / "data"
    data.mkdir(parents=True, mode=0o700)
    (data / "case-key").write_bytes(_CASE_KEY)
    with running_node(folder / "node", make_orthanc, steps=2, reconcile_s=10.0, learning=_SETTINGS) as node:
        try:
            yield node
        finally:
            node.orthanc.kill()


def run(
    folder: Path,
    acts: Iterable[Act],
    killer: Killer | None,
    usual_s: float = 2.0,
    tell: Callable[[int], None] = lambda _n: None,
) -> Run:
    """Plays a story in a folder of its own.

    Args:
        folder: to be made.
        acts: the story.
        killer: kills meanwhile, or None.
        usual_s: about how long an annotation takes.
        tell: called with the number of each annotation that is done.
    """
    with soaked_node(folder) as node:
        player = Player(node, killer, usual_s)
        triggers = []
        for number, act in enumerate(acts, start=1):
            player.play(act)
            triggers.append(act.trigger)
            tell(number)
        player.close()
        wait_for(lambda: not outbox_of(node), "the outbox to be cleared", 30)
        return Run(outcome(node), inconsistencies(node, triggers, player.sent), player.seconds)


def outbox_of(node: RunningNode) -> set[str]:
    """Files that are not sent, or sent and not removed."""
    return Look(node.folder / "data").files("outbox")


def usual_seconds(seconds: Sequence[float]) -> float:
    """How long an annotation usually takes; the first one trains longer."""
    return statistics.median(seconds[1:] or seconds)
