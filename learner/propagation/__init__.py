"""The front end: few drawn slices to a proxy mask. Propagators by name: built in, and those that a site adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from learner.extensions import PROPAGATORS, extensions
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
        ValueError: if there is none of that name, or it cannot be used here; the message says why, and what there is.
    """
    added = extensions(PROPAGATORS, _BUILT_IN)
    if name in _BUILT_IN:
        return _BUILT_IN[name]()
    if name not in added:
        raise ValueError(f"no propagator is called {name!r}; there are {', '.join([*_BUILT_IN, *added])}")
    propagator: Propagator = added[name].make(Propagator)
    return propagator


__all__ = ["make_propagator", "propagators"]
