"""What a site adds as entry points: found, loaded, and refused with the distribution's name and what to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dicom_io.annotation import Plane, SparseAnnotation
from learner.domain.guidance import Situation
from learner.errors import ConfigurationError
from learner.extensions import GUIDANCE, PROPAGATORS, extensions
from learner.guidance import make_guidance_rule
from learner.ports import Propagator
from learner.propagation import make_propagator
from learner.wiring import build_guidance_rule, build_propagator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a distribution on the path: its metadata, and one module."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(entries: str, code: str = "", name: str = "acme-extras", module: str = "acme_extras") -> None:
        info = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entries)
        (tmp_path / f"{module}.py").write_text(code)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return put


def documented(language: str, number: int = 0) -> str:
    """The example of that language in the page, counted from 0."""
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found[number])


def test_the_documented_propagator_works(install: Install) -> None:
    toml = documented("toml")
    group, line = re.findall(r'entry-points\."([^"]+)"\]\n(.+)', toml)[0]
    install(f"[{group}]\n{line.replace(chr(34), '')}\n", documented("python"))
    labels, known = np.zeros((5, 8, 8), np.uint8), np.zeros((1, 5, 8, 8), bool)
    labels[1, 2:5, 2:6] = 1
    known[0, 1] = True
    annotation = SparseAnnotation(labels, known, (Plane(0, 1),))
    propagator = make_propagator("drawn-only")
    proxy = propagator.propagate(np.zeros((5, 8, 8), np.float32), (3.0, 1.0, 1.0), annotation)
    assert proxy.method == propagator.name == "drawn-only"
    np.testing.assert_array_equal(proxy.labels_DHW, labels)


def test_the_documented_guidance_rule_works(install: Install) -> None:
    group, line = re.findall(r'entry-points\."([^"]+)"\]\n(.+)', documented("toml", 1))[0]
    install(f"[{group}]\n{line.replace(chr(34), '')}\n", documented("python", 1))
    rule = make_guidance_rule("first-free")
    assert [one.index for one in rule.rank(Situation(9, acquired=frozenset({2, 4, 5})), 2).suggestions] == [2, 4]


def test_a_guidance_rule_that_there_is_not_is_refused_with_those_there_are(install: Install) -> None:
    install(f"[{GUIDANCE}]\nlazy = acme_extras:Lazy\n", "class Lazy:\n    name = 'lazy'\n")
    with pytest.raises(ConfigurationError, match=r"answer\.guidance: no guidance rule is called 'best'.*uniform.*lazy"):
        build_guidance_rule("best")
    with pytest.raises(ConfigurationError, match=r"acme-extras 1\.2 is no GuidanceRule: it has no rank"):
        build_guidance_rule("lazy")


def test_every_group_is_named_in_the_page() -> None:
    text = PAGE.read_text("utf-8")
    assert PROPAGATORS in text
    assert GUIDANCE in text


def test_nothing_is_imported_before_it_is_asked_for(install: Install) -> None:
    install(f"[{PROPAGATORS}]\nbig = acme_extras:big\n", "raise RuntimeError('imported')\n")
    assert [(name, one.distribution) for name, one in extensions(PROPAGATORS).items()] == [("big", "acme-extras 1.2")]


def test_a_name_that_is_built_in_is_refused(install: Install) -> None:
    install(f"[{PROPAGATORS}]\nchained-flow = acme_extras:other\n")
    with pytest.raises(ConfigurationError, match=r"acme-extras 1\.2 adds 'chained-flow'.*built in; rename .* or uninstall it"):
        build_propagator("chained-flow")


def test_a_name_that_two_distributions_add_is_refused(install: Install) -> None:
    install(f"[{PROPAGATORS}]\nmine = acme_extras:one\n")
    install(f"[{PROPAGATORS}]\nmine = other_extras:one\n", name="other-extras", module="other_extras")
    with pytest.raises(ConfigurationError, match=r"(acme|other)-extras 1\.2 adds 'mine'.*(acme|other)-extras 1\.2 has it too"):
        extensions(PROPAGATORS)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import surely_not_there\n", r"cannot be loaded \(ModuleNotFoundError: No module named 'surely_not_there'\)"),
        ("", r"cannot be loaded \(AttributeError"),
        ("def make():\n    raise KeyError('weights')\n", r"cannot be loaded \(KeyError: 'weights'\)"),
        ("def make():\n    return object()\n", "is no Propagator: it has no name, it has no propagate"),
        ("class make:\n    name = 'x'\n    propagate = 1\n", "is no Propagator: its propagate cannot be called"),
    ],
    ids=["import", "missing", "raises", "lacks", "not callable"],
)
def test_what_does_not_work_names_the_distribution_and_the_remedy(install: Install, code: str, said: str) -> None:
    install(f"[{PROPAGATORS}]\nmine = acme_extras:make\n", code)
    with pytest.raises(ConfigurationError, match=rf"'mine' \(acme_extras:make\) of acme-extras 1\.2 {said}.*mend or update"):
        build_propagator("mine")


def test_an_unknown_name_is_refused_with_what_is_added_too(install: Install) -> None:
    install(f"[{PROPAGATORS}]\nmine = acme_extras:make\n")
    with pytest.raises(ConfigurationError, match=r"no propagator is called 'magic'; there are chained-flow.*, mine"):
        build_propagator("magic")


def test_arguments_reach_what_takes_them(install: Install) -> None:
    install(
        f"[{PROPAGATORS}]\nmine = acme_extras:Mine\n",
        "class Mine:\n"
        "    def __init__(self, count, wide=False):\n"
        "        self.name = f'{count} {wide}'\n"
        "    def propagate(self): ...\n",
    )
    assert extensions(PROPAGATORS)["mine"].make(Propagator, 3, wide=True).name == "3 True"
