"""Annotations on a real Orthanc while learner, trainer and Orthanc are killed; then nothing may be lost, doubled or left over.

usage: ./run soak [--annotations 200] [--kills 100] [--seed N] [--folder FOLDER] [--json FILE]

The story is played twice: undisturbed, and with processes killed (SIGKILL) at each named moment once and at random moments
besides. At the end each trigger has one answer in archive and store, no file is there that no record names, records agree with
each other and with the hashes of files, and the weights of the network are those of the undisturbed run, bit by bit.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "soak")]

from soak_driver import MOMENTS, Kill, Killer, Moment, Run, Victim, run, usual_seconds  # noqa: E402 - found through the line above
from soak_look import Stage  # noqa: E402
from soak_state import differences  # noqa: E402
from soak_story import Act, story  # noqa: E402


@dataclass(frozen=True)
class Soak:
    """What a soak came to.

    Attributes:
        undisturbed: the run in which nobody died.
        disturbed: the other one.
        kills: what happened in it.
        never: named moments that were not met.
        missed: how often one had passed before it was seen.
    """

    undisturbed: Run
    disturbed: Run
    kills: Sequence[Kill]
    never: Sequence[Moment]
    missed: int

    @property
    def findings(self) -> list[str]:
        """All that is wrong, in words; an empty list where nothing is."""
        return [
            *(f"undisturbed run: {one}" for one in self.undisturbed.inconsistencies),
            *self.disturbed.inconsistencies,
            *(f"other than undisturbed: {one}" for one in differences(self.undisturbed.outcome, self.disturbed.outcome)),
            *(f"no {one.victim} was killed at: {one.stage}" for one in self.never),
        ]


def soak(folder: Path, acts: Sequence[Act], seed: int, random_kills: int, moments: Sequence[Moment], *, progress: bool) -> Soak:
    """Plays a story without and with kills.

    Args:
        folder: for both nodes and archives.
        acts: the story.
        seed: of who is killed when.
        random_kills: kills at random moments.
        moments: the named ones.
        progress: whether a line is printed now and then.
    """
    began, console = time.monotonic(), Console(highlight=False, soft_wrap=True)

    def tell(number: int, kills: Sequence[Kill] = ()) -> None:
        if progress and (number % 10 == 0 or number == len(acts)):
            last = f"; the last: {kills[-1].victim}, {kills[-1].stage}" if kills else ""
            console.print(f"{time.monotonic() - began:6.0f} s  {number} of {len(acts)} annotations, {len(kills)} kills{last}")

    undisturbed = run(folder / "undisturbed", acts, None, tell=tell)
    killer = Killer(random.Random(seed), list(moments), random_kills, len(acts))
    usual_s = usual_seconds(undisturbed.seconds)
    disturbed = run(folder / "disturbed", acts, killer, usual_s, lambda number: tell(number, killer.kills))
    return Soak(undisturbed, disturbed, killer.kills, killer.moments, killer.missed)


def table(kills: Sequence[Kill]) -> Table:
    """Kills by stage and victim; in brackets those at moments that were waited for."""
    found = Counter((one.stage, one.victim) for one in kills)
    named = Counter((one.stage, one.victim) for one in kills if one.named)
    result = Table("the annotation was", *Victim, title=f"{len(kills)} kills")
    for stage in Stage:
        result.add_row(stage, *(_cell(found[stage, victim], named[stage, victim]) for victim in Victim))
    result.add_row("all", *(str(sum(one.victim is victim for one in kills)) for victim in Victim), style="bold")
    return result


def _cell(count: int, named: int) -> str:
    return "" if not count else f"{count} ({named})" if named else str(count)


def report(one: Soak, seed: int) -> dict[str, object]:
    """The soak as plain data."""
    return {
        "seed": seed,
        "annotations": len(one.disturbed.seconds),
        "kills": [asdict(kill) for kill in one.kills],
        "missed": one.missed,
        "findings": one.findings,
        "versions": one.disturbed.outcome.versions,
        "steps": one.disturbed.outcome.state.steps if one.disturbed.outcome.state is not None else 0,
        "seconds": {"undisturbed": list(one.undisturbed.seconds), "disturbed": list(one.disturbed.seconds)},
    }


def summary(one: Soak) -> list[str]:
    """The soak in a few lines."""
    outcome = one.disturbed.outcome
    steps = outcome.state.steps if outcome.state is not None else 0
    alone, killed = usual_seconds(one.undisturbed.seconds), usual_seconds(one.disturbed.seconds)
    done = f"{len(one.disturbed.seconds)} annotations, {outcome.versions} versions, {steps} training steps"
    well = "nothing lost, nothing doubled, nothing left over; the weights are those of the undisturbed run"
    return [done, f"usually {alone:.1f} s an annotation, {killed:.1f} s with kills", *(one.findings or [well])]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=int, default=200)
    parser.add_argument("--kills", type=int, default=100, help="all of them, those at named moments among them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where nodes and archives lie; kept. A temporary one where left out")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        acts = list(story(options.annotations, options.seed))
        folder = options.folder or Path(name)
        kills = max(0, options.kills - len(MOMENTS))
        one = soak(folder, acts, options.seed, kills, MOMENTS[: options.kills], progress=True)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table(one.kills))
    console.print("\n".join(summary(one)))
    if options.json:
        options.json.write_text(json.dumps(report(one, options.seed), indent=2) + "\n", "utf-8")
    return int(bool(one.findings))


if __name__ == "__main__":
    raise SystemExit(main())
