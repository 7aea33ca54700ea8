"""The front end: few drawn slices to a proxy mask. Three propagators of one engine, chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from learner.ports import Propagator
from learner.propagation.chained_flow import ChainedFlow
from learner.propagation.nearest_copy import NearestCopy
from learner.propagation.shape_interpolation import ShapeInterpolation

_PROPAGATORS: Mapping[str, Callable[[], Propagator]] = MappingProxyType(
    {"chained-flow": ChainedFlow, "shape-interpolation": ShapeInterpolation, "nearest-copy": NearestCopy}
)


def propagators() -> Mapping[str, Callable[[], Propagator]]:
    """Every propagator by the name that settings use; the first is the default."""
    return _PROPAGATORS


def make_propagator(name: str = "chained-flow") -> Propagator:
    """The propagator called ``name``.

    Raises:
        ValueError: if there is none of that name; the message lists those that there are.
    """
    try:
        return _PROPAGATORS[name]()
    except KeyError:
        raise ValueError(f"no propagator is called {name!r}; there are {', '.join(_PROPAGATORS)}") from None


__all__ = ["ChainedFlow", "NearestCopy", "ShapeInterpolation", "make_propagator", "propagators"]
