from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.errors import ConfigurationError
from learner.evaluation.modes import Order, Part
from learner.evaluation.streams import Stream, TaskData, make_stream, split

SITES = {"00": "A", "01": "B", "02": "A", "03": "C", "04": "B", "05": "A"}


@pytest.fixture
def hearts(tmp_path: Path) -> TaskData:
    """Three patients with two volumes each, of three sites; nothing is read of the files but their names."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for n in range(6):
            (tmp_path / folder / f"patient{n // 2}_frame{n % 2}.nii.gz").touch()
    return TaskData("heart", tmp_path / "images", tmp_path / "labels", patient=r"(patient\d+)")


@pytest.fixture
def prostates(tmp_path: Path) -> TaskData:
    root = tmp_path / "prostates"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
        for name in SITES:
            (root / folder / f"case{name}.nii.gz").touch()
    (root / "cases.csv").write_text("case,site\n" + "".join(f"{case},{site}\n" for case, site in SITES.items()))
    return TaskData("prostate", root / "images", root / "labels", cases=root / "cases.csv")


def stream(*tasks: TaskData, order: Order = Order.NAME, sites: tuple[str, ...] = (), seed: int = 0) -> Stream:
    return make_stream(tasks, order, sites, seed, Part.TEST)


def test_both_volumes_of_a_patient_are_on_the_same_side(hearts: TaskData) -> None:
    found = stream(replace(hearts, test=1))
    assert [case.name for case in found.tests] == ["patient2_frame0", "patient2_frame1"]
    assert len(found.cases) == 4


def test_a_name_that_the_rule_does_not_fit_is_a_patient(hearts: TaskData) -> None:
    assert hearts.patient_of("patient1_frame1") == "patient1"
    assert hearts.patient_of("somebody") == "somebody"


@given(
    patients=st.lists(st.integers(0, 5), min_size=2, max_size=20),
    test=st.integers(0, 6),
    validation=st.integers(0, 6),
    part=st.sampled_from(list(Part)),
)
def test_no_patient_is_on_two_sides(patients: list[int], test: int, validation: int, part: Part) -> None:
    names = [f"p{patient}_{n:02d}" for n, patient in enumerate(sorted(patients))]
    task = TaskData("t", Path("i"), Path("l"), test=test, validation=validation, patient=r"(p\d+)")
    try:
        learned, tested = split(task, names, dict.fromkeys(names, ""), part)
    except ConfigurationError:
        return
    assert not {task.patient_of(n) for n in learned} & {task.patient_of(n) for n in tested}
    if part is Part.TEST:
        assert len(tested) >= min(test, len(names))
        assert set(learned) | set(tested) == set(names)
    else:
        _, held = split(task, names, dict.fromkeys(names, ""), Part.TEST)
        assert not set(held) & {*learned, *tested}


def test_site_after_site(prostates: TaskData) -> None:
    found = stream(prostates, order=Order.SITES, sites=("C", "A", "B"))
    assert [case.name for case in found.cases] == ["case03", "case00", "case02", "case05", "case01", "case04"]
    assert found.stages == ("C", "A", "B")
    assert found.stage_ends == (1, 4, 6)
    some = stream(prostates, order=Order.SITES, sites=("B",))
    assert {case.site for case in some.cases} == {"B"}


def test_each_site_has_its_test(prostates: TaskData) -> None:
    found = stream(replace(prostates, test_share=0.5), order=Order.SITES)
    assert [case.name for case in found.tests] == ["case02", "case04", "case05"]
    assert [(case.site, case.stage) for case in found.tests] == [("A", 0), ("B", 1), ("A", 0)]


def test_orders(hearts: TaskData, prostates: TaskData) -> None:
    one = stream(hearts, prostates, order=Order.SHUFFLE, seed=1)
    assert one == stream(hearts, prostates, order=Order.SHUFFLE, seed=1)
    assert one.cases != stream(hearts, prostates, order=Order.SHUFFLE, seed=2).cases
    assert sorted(c.key for c in one.cases) == sorted(c.key for c in stream(hearts, prostates).cases)
    tasks = stream(hearts, prostates, order=Order.TASKS)
    assert tasks.stages == ("heart", "prostate")
    assert [case.stage for case in tasks.cases] == [0] * 6 + [1] * 6


def test_a_stream_may_be_played_again(hearts: TaskData) -> None:
    found = make_stream([hearts], Order.NAME, (), 0, Part.TEST, length=8)
    assert [case.cycle for case in found.cases] == [0] * 6 + [1] * 2
    assert len({case.key for case in found.cases}) == 8


def test_what_is_not_there_is_named(hearts: TaskData, prostates: TaskData, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds 6 cases"):
        stream(replace(hearts, stream=5, test=2))
    with pytest.raises(ConfigurationError, match="all cases of site 'C' are test cases"):
        stream(replace(prostates, test_share=0.6), order=Order.SITES)
    assert prostates.cases is not None
    prostates.cases.write_text("case,site\n00,A\n")
    with pytest.raises(ConfigurationError, match=r"no row for 5 cases, the first being case01"):
        stream(prostates)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        stream(replace(prostates, cases=tmp_path / "none.csv"))
    for wrong in ({"axis": 3}, {"slices": 0}, {"test_share": 1.0}, {"patient": "("}, {"patient": "p"}, {"stream": 0}):
        with pytest.raises(ConfigurationError, match="task heart"):
            replace(hearts, **wrong)
