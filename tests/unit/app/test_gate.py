"""What is held back, what is judged on it, and what serves after that."""

from __future__ import annotations

from pathlib import Path

import pytest
from learning_fakes import Stream, example, keys

from learner import operations
from learner.app.gate import GateSettings
from learner.domain.example import Example

TAKE, HOLD, (POISON,) = keys("take", 12), keys("hold", 6), keys("poison", 1)
NEVER = GateSettings(cases=0)


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return Stream(tmp_path)


def test_a_network_of_one_case_answers_nobody_until_it_foresaw_something(stream: Stream) -> None:
    stream.play(TAKE[0])
    assert stream.serving is None
    assert stream.states == ["shadow"]
    stream.play(TAKE[1])
    assert stream.serving is not None
    assert (stream.serving.number, stream.serving.tasks) == (1, ("liver",))
    assert "the first to reach" in str(stream.serving.gate["reason"])


def test_more_drawn_on_the_first_case_tells_whether_its_network_is_good_enough(stream: Stream) -> None:
    stream.play(TAKE[0])
    stream.add(example(TAKE[0], drawn=(1, 3, 4)), "more")
    stream.run()
    assert stream.serving is not None
    assert (stream.serving.number, stream.serving.gate["slices"]) == (1, 1), "only the plane that is new counts"
    stream.add(example(TAKE[0], drawn=(1, 2, 3, 4)), "still more")
    stream.run()
    assert stream.serving.number == 1, "whoever learned from the case is not compared on it"


def test_without_held_cases_each_new_case_judges_the_version_before_it(tmp_path: Path) -> None:
    stream = Stream(tmp_path, NEVER)
    stream.play(*TAKE[:4])
    assert stream.learned == TAKE[:4], "no drawing is lost or late"
    assert stream.held == []
    assert stream.states == ["retired", "retired", "serving", "shadow"]


def test_a_held_case_judges_a_version_as_soon_as_it_is_made(stream: Stream) -> None:
    stream.play(TAKE[0], HOLD[0])
    assert stream.learned == [TAKE[0]]
    assert len(stream.held) == 1
    stream.play(TAKE[1], TAKE[2])
    assert stream.states == ["retired", "retired", "serving"]
    assert stream.serving is not None
    assert stream.serving.gate["cases"] == 1


def test_the_first_case_of_a_task_is_never_held(stream: Stream) -> None:
    stream.play(HOLD[0])
    assert stream.learned == [HOLD[0]]


def test_what_is_released_is_learned_from_and_nothing_is_lost(stream: Stream) -> None:
    stream.play(TAKE[0], *HOLD[:4])
    assert stream.learned == [TAKE[0], HOLD[0], HOLD[1]]
    assert len(stream.held) == 2
    kept = {int(path.stem) for path in (stream.store.folder / "examples").iterdir()}
    assert kept == set(stream.held), "held examples stay on disk, and no others"
    assert (stream.store.take(), stream.store.take_training()) == (0, 0), "nor does a restart take them for leftovers"


def test_the_oldest_case_of_the_largest_site_is_released(stream: Stream) -> None:
    stream.play(TAKE[0])
    stream.play(HOLD[0], site="a")
    stream.play(HOLD[1], HOLD[2], site="b")
    assert stream.learned == [TAKE[0], HOLD[1]]


def test_more_drawn_on_a_held_case_stays_held(stream: Stream) -> None:
    stream.play(TAKE[0], HOLD[0])
    more = stream.add(example(HOLD[0], drawn=(1, 2, 3)), "more")
    stream.run()
    assert (stream.held, stream.learned) == ([more], [TAKE[0]])
    assert [path.stem for path in (stream.store.folder / "examples").iterdir()] == [f"{more:08d}"]
    assert stream.serving is not None
    assert stream.serving.gate["slices"] == 3


def test_what_was_learned_from_is_never_held(stream: Stream) -> None:
    stream.play(HOLD[0], TAKE[0])
    stream.add(example(HOLD[0], drawn=(1, 2, 3)), "more")
    stream.run()
    assert stream.held == []


def test_a_held_case_that_is_taken_back_judges_nothing_any_more(stream: Stream) -> None:
    stream.play(TAKE[0], HOLD[0])
    stream.take_back(HOLD[0])
    stream.run()
    assert stream.held == []
    assert stream.learned == [TAKE[0]]
    assert list((stream.store.folder / "examples").iterdir()) == []


def test_what_was_learned_and_taken_back_makes_a_version_without_it(stream: Stream) -> None:
    stream.play(TAKE[0], TAKE[1])
    stream.take_back(TAKE[0])
    stream.run()
    assert stream.learned == [TAKE[1]]


def test_a_poisoned_case_makes_a_version_that_stays_in_shadow(stream: Stream) -> None:
    stream.play(TAKE[0], HOLD[0], *TAKE[1:4])
    good = stream.serving
    assert good is not None
    stream.play(POISON)
    assert stream.serving == good
    newest = stream.store.checkpoints.versions("liver")[0]
    assert (newest.state, newest.gate["serve"]) == ("shadow", False)
    assert "worse: label 1 of liver, Dice 0.000 against 1.000" in str(newest.gate["reason"])
    stream.play(*TAKE[4:7])
    assert stream.serving == good, "learning goes on from it, and still is worse"
    stream.play(TAKE[7])
    assert stream.serving is not None
    assert stream.serving.number == newest.number + 4, "until it is as good as what serves"


def test_a_version_is_judged_for_every_task_of_its_model(tmp_path: Path) -> None:
    stream = Stream(tmp_path, model="pelvis")
    stream.play(TAKE[0], HOLD[0], TAKE[1])
    assert stream.serving is not None
    assert stream.serving.tasks == ("liver",)
    stream.play(TAKE[2], task="spleen")
    assert stream.serving.tasks == ("liver",), "nothing tells yet what it is worth for the new task"
    stream.play(TAKE[3], task="spleen")
    assert stream.serving.tasks == ("liver", "spleen"), "each task of a shared model has a case held back"
    assert len(stream.held) == 2
    good = stream.serving
    stream.play(POISON, task="spleen")
    assert stream.serving == good
    assert {f["task_id"] for f in stream.store.checkpoints.versions("pelvis")[0].gate["figures"]} == {"liver", "spleen"}  # type: ignore[attr-defined]


def test_rolled_back_to_what_served_before_until_something_is_clearly_better(stream: Stream) -> None:
    stream.play(TAKE[0], HOLD[0], *TAKE[1:3])
    assert stream.states == ["retired", "retired", "serving"]
    operations.roll_back(stream.store, "liver")
    assert stream.states == ["retired", "serving", "rolled-back"]
    assert stream.serving is not None
    assert stream.serving.pinned
    stream.play(HOLD[1])
    assert stream.serving.number == 2, "what a person took back does not come back by itself"
    stream.play(TAKE[3])
    assert stream.learned == [*TAKE[:4]], "training went on from the newest weights"
    assert (stream.serving.number, stream.serving.pinned) == (4, False), "much better than the pinned one"


def test_a_pinned_version_does_not_give_way_to_an_equal_one(stream: Stream) -> None:
    stream.play(TAKE[0], HOLD[0], *TAKE[1:6])
    operations.roll_back(stream.store, "liver", "5")
    stream.play(TAKE[6], TAKE[7])
    assert stream.serving is not None
    assert stream.serving.number == 5
    assert "not clearly better" in str(stream.store.checkpoints.versions("liver")[0].gate["reason"])


def test_training_goes_back_too_where_that_is_asked_for(stream: Stream) -> None:
    stream.play(TAKE[0], HOLD[0], *TAKE[1:3])
    operations.roll_back(stream.store, "liver", "liver-1", retrain=True)
    stream.play(TAKE[3])
    assert stream.learned == [TAKE[0], TAKE[3]]
    newest = stream.store.checkpoints.versions("liver")[0]
    assert (newest.name, newest.parent) == ("liver-4", "liver-1")


def test_a_rollback_in_the_middle_of_a_job_is_not_undone_by_it(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    stream.play(TAKE[0], HOLD[0], *TAKE[1:3])
    stream.add(example(TAKE[3]))
    judge = stream.learn._gate.judge

    def meanwhile(*given: object) -> object:
        monkeypatch.undo()
        operations.roll_back(stream.store, "liver", "1", retrain=True)
        return judge(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(stream.learn._gate, "judge", meanwhile)
    assert stream.learn.run_once()
    assert stream.serving is not None
    assert (stream.serving.number, len(stream.store.checkpoints.versions("liver"))) == (1, 3), "the job recorded nothing"
    stream.run()
    assert stream.learned == [TAKE[0], TAKE[3]], "and was done again from where the person went back to"


@pytest.mark.parametrize(("name", "error"), [("9", operations.NoSuchVersion), ("liver-2", operations.NothingToRollBack)])
def test_what_cannot_be_rolled_back_to_is_said(stream: Stream, name: str, error: type[Exception]) -> None:
    stream.play(TAKE[0], HOLD[0], TAKE[1])
    with pytest.raises(error):
        operations.roll_back(stream.store, "liver", name)
    with pytest.raises(operations.NothingToRollBack):
        operations.roll_back(stream.store, "spleen")


def test_two_versions_are_compared_on_what_is_held(stream: Stream) -> None:
    stream.play(TAKE[0], TAKE[1])
    with pytest.raises(operations.NothingHeld):
        operations.compare_versions(stream.store, stream.learn._gate, "liver", ("1", "2"), {})
    stream.play(HOLD[0])
    verdict = operations.compare_versions(stream.store, stream.learn._gate, "liver", ("1", "2"), {"liver": 1})
    (figure,) = verdict.figures
    assert (round(figure.serving or 0, 2), round(figure.candidate, 2), verdict.serve) == (0.4, 0.67, True)
    worse = operations.compare_versions(stream.store, stream.learn._gate, "liver", ("2", "1"), {"liver": 1})
    assert not worse.serve


def test_one_decision_wherever_the_trainer_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each call that changes something, and after it, with a new process that takes over."""

    class Killed(BaseException):
        pass

    def story(folder: Path, at: int) -> tuple[Stream, int]:
        """Four cases, the process dying before its ``at``-th call; how many calls there were."""
        stream, calls = Stream(folder, GateSettings(cases=1, every=2)), 0

        def around(call: object) -> object:
            def wrapped(*given: object, **named: object) -> object:
                nonlocal calls
                calls += 1
                if calls == at:
                    raise Killed
                return call(*given, **named)  # type: ignore[operator]

            return wrapped

        changes = {"checkpoints": ("add", "judge", "prune"), "lessons": ("put",), "jobs": ("claim", "renew", "finish")}
        with monkeypatch.context() as patch:
            for part, names in {**changes, "files": ("drop_example",)}.items():
                for name in names:
                    patch.setattr(getattr(stream.store, part), name, around(getattr(getattr(stream.store, part), name)))
            for key in (TAKE[0], HOLD[0], HOLD[1], POISON):
                stream.add(example(key))
                try:
                    stream.run()
                except Killed:
                    stream.store.take_training()
                    stream.learn = stream.new_process()
                    stream.run()
                    stream.store.close()
        return stream, calls

    whole, count = story(tmp_path / "whole", -1)
    assert count > 30
    expected = (whole.learned, whole.states, whole.held, _gates(whole))
    assert whole.states == ["retired", "serving", "shadow"]
    for at in range(1, count + 1):
        stream, _ = story(tmp_path / str(at), at)
        assert (stream.learned, stream.states, stream.held, _gates(stream)) == expected, f"died at call {at}"
        assert {int(path.stem) for path in (stream.store.folder / "examples").iterdir()} == set(stream.held)
        stream.store.close()


def _gates(stream: Stream) -> list[object]:
    return [one.gate for one in stream.store.checkpoints.versions("liver")]


def test_an_example_without_drawn_voxels_is_not_held(stream: Stream) -> None:
    stream.play(TAKE[0])
    empty: Example = example(HOLD[0], drawn=())
    stream.add(empty)
    stream.run()
    assert stream.held == []


def test_a_held_example_whose_file_is_damaged_costs_no_other_case(stream: Stream) -> None:
    stream.play(TAKE[0], HOLD[0], HOLD[1])
    lost = stream.held[0]
    (stream.store.folder / "examples" / f"{lost:08d}.npz").write_bytes(b"damaged")
    stream.play(HOLD[2], TAKE[1])
    assert [job.state for job in stream.store.queries.jobs()] == ["done"] * 5
    assert lost not in stream.held
    assert stream.learned == [TAKE[0], TAKE[1]], "what was to be released is lost, and the cases after it are not"
    assert not (stream.store.folder / "examples" / f"{lost:08d}.npz").exists()


def test_a_damaged_record_of_an_earlier_round_costs_no_learn_job(stream: Stream) -> None:
    stream.play(TAKE[0])
    (record,) = (stream.store.folder / "rounds").iterdir()
    record.write_bytes(b"damaged")
    stream.add(example(TAKE[0], drawn=(1, 2, 3)), "more")
    stream.run()
    assert [job.state for job in stream.store.queries.jobs()] == ["done"] * 2
    assert stream.learned == [TAKE[0], TAKE[0]]
