"""Guidance rules by name: built in, and those that a site adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from learner.domain.expected_gain import ExpectedGain
from learner.domain.ranking import ResidualRule
from learner.domain.spacing_rules import ForegroundRandom, Uniform
from learner.extensions import GUIDANCE, by_name
from learner.ports import GuidanceRule

_BUILT_IN: Mapping[str, Callable[[], GuidanceRule]] = MappingProxyType(
    {
        "expected-gain": ExpectedGain,
        "residual": ResidualRule,
        "uniform": Uniform,
        "foreground-random": ForegroundRandom,
    }
)


def guidance_rules() -> tuple[str, ...]:
    """Names of the built-in rules, as settings use them; the first is the default."""
    return tuple(_BUILT_IN)


def make_guidance_rule(name: str = "expected-gain") -> GuidanceRule:
    """The rule called ``name``, built in or an extension of group ``pacs_apprentice.guidance``.

    Raises:
        ValueError: if there is none of that name; the message says what there is.
        ConfigurationError: an extension cannot be used.
    """
    rule: GuidanceRule = by_name(GUIDANCE, _BUILT_IN, name, GuidanceRule, "guidance rule")
    return rule
