"""The plugin's options: section "Apprentice" of Orthanc's configuration, overridden by environment variables.

The variable of ``LearnerUrl`` is ``APPRENTICE_LEARNER_URL``, and so on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

SECTION = "Apprentice"


class OptionsError(Exception):
    """An option is unknown or wrong; names it and says what it must be."""


@dataclass(frozen=True)
class Options:
    """Options of the plugin.

    Attributes:
        LearnerUrl: base address of the learner's API as Orthanc reaches it.
        PageUrl: the learner's page as the reader's browser reaches it (an address, or a path on Orthanc's own
            origin); empty for no link in Orthanc's page.
        TokenFile: file with the bearer token for the learner; empty for none. Read anew for every message, so that it
            may be written or renewed later.
        LinkText: text of the link.
        TimeoutSeconds: how long to wait for the learner.
        QueueSize: changes that wait at most; more are dropped and counted.
    """

    LearnerUrl: str = "http://127.0.0.1:8075"
    PageUrl: str = ""
    TokenFile: str = ""
    LinkText: str = "PACS Apprentice"
    TimeoutSeconds: float = 2.0
    QueueSize: int = 1000

    def __post_init__(self) -> None:
        _check_url("LearnerUrl", self.LearnerUrl)
        if self.PageUrl and not re.match(r"/(?!/)", self.PageUrl):
            _check_url("PageUrl", self.PageUrl)
        if not 0 < self.TimeoutSeconds <= 60:
            raise OptionsError(f"{SECTION}.TimeoutSeconds must be above 0 and at most 60")
        if not 1 <= self.QueueSize <= 1_000_000:
            raise OptionsError(f"{SECTION}.QueueSize must be from 1 to 1000000")


def read_options(configuration: str, environment: Mapping[str, str]) -> Options:
    """The options that hold.

    Args:
        configuration: Orthanc's configuration as JSON.
        environment: environment variables.

    Raises:
        OptionsError: an option is unknown or wrong.
    """
    section = json.loads(configuration).get(SECTION, {})
    if not isinstance(section, dict):
        raise OptionsError(f"{SECTION} must be an object")
    kinds = {option.name: type(option.default) for option in fields(Options)}
    unknown = sorted(section.keys() - kinds.keys())
    if unknown:
        raise OptionsError(f"{SECTION}.{unknown[0]} is unknown; there are {', '.join(kinds)}")
    found = section | {name: environment[_variable(name)] for name in kinds if _variable(name) in environment}
    return Options(**{name: _convert(name, value, kinds[name]) for name, value in found.items()})


def _variable(name: str) -> str:
    words = re.findall("[A-Z][a-z]*", name)
    return "_".join([SECTION, *words]).upper()


def _convert(name: str, value: object, kind: type) -> Any:
    if kind is str and isinstance(value, str):
        return value
    if kind is not str and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return kind(value)
        except ValueError:
            pass
    raise OptionsError(f"{SECTION}.{name} must be {'a text' if kind is str else 'a number'}")


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise OptionsError(f"{SECTION}.{name} must be an http or https address")
