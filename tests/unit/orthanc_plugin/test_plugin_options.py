from __future__ import annotations

import json
from pathlib import Path

import pytest

from orthanc_plugin.options import Options, OptionsError, read_options


def test_without_a_section_the_defaults_hold() -> None:
    assert read_options("{}", {}) == Options()


def test_the_section_is_read_and_the_environment_goes_before_it() -> None:
    configuration = json.dumps({"Apprentice": {"LearnerUrl": "http://a:1", "QueueSize": 5, "TimeoutSeconds": 1}})
    environment = {"APPRENTICE_LEARNER_URL": "https://b/prefix", "APPRENTICE_TIMEOUT_SECONDS": "0.5", "OTHER": "x"}
    options = read_options(configuration, environment)
    assert (options.LearnerUrl, options.QueueSize, options.TimeoutSeconds) == ("https://b/prefix", 5, 0.5)


@pytest.mark.parametrize("url", ["http://page.example/x?y=1", "https://page.example", "/apprentice/", ""])
def test_the_page_may_be_an_address_a_path_or_none(url: str) -> None:
    assert read_options(json.dumps({"Apprentice": {"PageUrl": url}}), {}).PageUrl == url


@pytest.mark.parametrize(
    "section",
    [
        {"LearnerUrl": "ftp://a"},
        {"LearnerUrl": "http://"},
        {"LearnerUrl": "http://a:port"},
        {"LearnerUrl": 7},
        {"PageUrl": "javascript:alert(1)"},
        {"PageUrl": "//elsewhere.example"},
        {"TimeoutSeconds": "soon"},
        {"TimeoutSeconds": 0},
        {"TimeoutSeconds": True},
        {"TimeoutSeconds": float("nan")},
        {"QueueSize": 0},
        {"QueueSize": None},
        {"Typo": 1},
    ],
)
def test_a_wrong_option_is_named(section: dict[str, object]) -> None:
    with pytest.raises(OptionsError, match=f"Apprentice.{next(iter(section))}"):
        read_options(json.dumps({"Apprentice": section}), {})


def test_a_section_that_is_no_object_is_refused() -> None:
    with pytest.raises(OptionsError):
        read_options('{"Apprentice": [1]}', {})


def test_the_example_configuration_is_valid() -> None:
    example = Path(__file__).resolve().parents[3] / "config" / "orthanc.json"
    options = read_options(example.read_text(), {})
    assert options.TokenFile
    assert options.PageUrl
