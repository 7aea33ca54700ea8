"""What a site adds without changing this code: entry points of installed Python distributions.

An entry point is a name and a callable; called, it gives the object. docs/extending.md describes groups and protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from learner.errors import ConfigurationError

PROPAGATORS = "pacs_apprentice.propagators"
"""Callables without arguments that give a :class:`learner.ports.Propagator`."""

GUIDANCE = "pacs_apprentice.guidance"
"""Callables without arguments that give a :class:`learner.ports.GuidanceRule`."""


@dataclass(frozen=True, slots=True)
class Extension:
    """Something that an installed distribution adds; nothing of it is imported yet.

    Attributes:
        entry: group, name, and where the callable is.
        distribution: name and version of who adds it.
    """

    entry: EntryPoint
    distribution: str

    def make(self, protocol: type, *arguments: Any, **options: Any) -> Any:
        """What the callable gives for these arguments.

        Args:
            protocol: what it has to be; the public attributes and methods of this class are looked for.
            arguments: passed on.
            options: passed on.

        Raises:
            ConfigurationError: it cannot be imported or made, or is something else; names the distribution and the remedy.
        """
        try:
            made = self.entry.load()(*arguments, **options)
        except Exception as error:
            raise self._broken(f"cannot be loaded ({type(error).__name__}: {error})") from error
        if faults := _faults(made, protocol):
            raise self._broken(f"is no {protocol.__name__}: {', '.join(faults)}")
        return made

    def _broken(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.entry.name!r} ({self.entry.value}) of {self.distribution} {what}; mend or update that distribution, or "
            f"choose another of {self.entry.group}"
        )


def by_name(group: str, built_in: Mapping[str, Callable[[], Any]], name: str, protocol: type, noun: str) -> Any:
    """What settings name: built in, or added by an installed distribution.

    Args:
        group: of entry points, for example :data:`PROPAGATORS`.
        built_in: what there is without them.
        name: wanted.
        protocol: what an added one has to be.
        noun: what such a thing is called.

    Raises:
        ValueError: if there is none of that name, or a built-in one cannot be used here; says why, or what there is.
        ConfigurationError: an extension cannot be used.
    """
    added = extensions(group, built_in)
    if name in built_in:
        return built_in[name]()
    if name not in added:
        raise ValueError(f"no {noun} is called {name!r}; there are {', '.join([*built_in, *added])}")
    return added[name].make(protocol)


def extensions(group: str, built_in: Collection[str] = ()) -> Mapping[str, Extension]:
    """What installed distributions add to a group, by name; imports none of it.

    Args:
        group: for example :data:`PROPAGATORS`.
        built_in: names that are taken.

    Raises:
        ConfigurationError: a name is taken, by a built-in one or by another distribution; names both and the remedy.
    """
    found: dict[str, Extension] = {}
    for entry in entry_points(group=group):
        one = Extension(
            entry, f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unnamed distribution"
        )
        taken = "it is built in" if entry.name in built_in else ""
        if entry.name in found:
            taken = f"{found[entry.name].distribution} has it too"
        if taken:
            raise ConfigurationError(
                f"{one.distribution} adds {entry.name!r} to {group}, but {taken}; rename its entry point or uninstall it"
            )
        found[entry.name] = one
    return found


def _faults(made: object, protocol: type) -> list[str]:
    """What an object lacks of a protocol."""
    faults = []
    members = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    for name in sorted(member for member in members if not member.startswith("_")):
        if not hasattr(made, name):
            faults.append(f"it has no {name}")
        elif callable(vars(protocol).get(name)) and not callable(getattr(made, name)):
            faults.append(f"its {name} cannot be called")
    return faults
