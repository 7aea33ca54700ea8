"""The front end: few drawn slices to a proxy mask. Propagators by name: built in, and those that a site adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from learner.extensions import PROPAGATORS, by_name
from learner.ports import Propagator
from learner.propagation.methods import (
    b_spline,
    chained_flow,
    demons,
    nearest_copy,
    shape_interpolation,
    syn,
    torch_flow,
)

_BUILT_IN: Mapping[str, Callable[[], Propagator]] = MappingProxyType(
    {
        "chained-flow": chained_flow,
        "shape-interpolation": shape_interpolation,
        "nearest-copy": nearest_copy,
        "demons": demons,
        "b-spline": b_spline,
        "torch-flow": torch_flow,
        "syn": syn,
    }
)


def propagators() -> tuple[str, ...]:
    """Names of the built-in propagators, as settings use them; the first is the default."""
    return tuple(_BUILT_IN)


def make_propagator(name: str = "chained-flow") -> Propagator:
    """The propagator called ``name``, built in or an extension of group ``pacs_apprentice.propagators``.

    Raises:
        ValueError: if there is none of that name, or it cannot be used here; the message says why, or what there is.
        ConfigurationError: an extension cannot be used.
    """
    propagator: Propagator = by_name(PROPAGATORS, _BUILT_IN, name, Propagator, "propagator")
    return propagator


__all__ = ["make_propagator", "propagators"]
