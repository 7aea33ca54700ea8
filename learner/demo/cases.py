"""The five cases that the demo plays: four variations of one head, then another head."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import track

from learner.demo.data import COLIN, TEMPLATE, Source, ensure_data, load_head
from learner.demo.variations import Acquisition, Scan, Variation, vary

SCRIPT: tuple[tuple[Source, Variation], ...] = (
    (COLIN, Variation("colin27-as-shipped", "as shipped, 4 mm slices", Acquisition(4.0), noise=0.01, seed=1)),
    (
        COLIN,
        Variation(
            "colin27-second-day",
            "deformed by 3 mm, tilted by 6 degrees, shading, more contrast",
            Acquisition(4.0, 1.2, (6.0, 2.0, -3.0), 0.4),
            deformation_mm=3.0,
            bias=0.2,
            gamma=1.15,
            noise=0.02,
            seed=2,
        ),
    ),
    (
        COLIN,
        Variation(
            "colin27-other-scanner",
            "deformed by 3 mm, tilted by -8 degrees, 3.6 mm slices, less contrast, more noise",
            Acquisition(3.6, 1.2, (-8.0, -3.0, 4.0), 0.7),
            deformation_mm=3.0,
            bias=0.25,
            gamma=0.85,
            noise=0.03,
            seed=3,
        ),
    ),
    (
        COLIN,
        Variation(
            "colin27-third-day",
            "deformed by 4 mm, tilted by 4 degrees, shading",
            Acquisition(3.8, 1.2, (4.0, -4.0, 6.0), 0.2),
            deformation_mm=4.0,
            bias=0.25,
            gamma=1.05,
            noise=0.025,
            seed=4,
        ),
    ),
    (
        TEMPLATE,
        Variation("other-head", "another subject: an average head, 3.5 mm slices", Acquisition(3.5), noise=0.015, seed=5),
    ),
)
"""Which head, and how it is varied, in the order of arrival; the last is another subject than those before."""


def shipped_scans(cache: Path, console: Console) -> list[Scan]:
    """The scans of :data:`SCRIPT`, made from the shipped heads.

    Args:
        cache: folder for what is fetched.
        console: where progress goes.

    Raises:
        DemoError: if the data cannot be had.
    """
    ensure_data(cache, console)
    heads = {source.key: load_head(source, cache) for source in (COLIN, TEMPLATE)}
    steps = track(SCRIPT, description="making the scans", console=console, transient=True)
    return [vary(heads[source.key], variation) for source, variation in steps]
