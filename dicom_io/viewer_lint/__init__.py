"""Whether viewers show a DICOM result, and show it in the right place: the display rules of OHIF, 3D Slicer, Weasis and Stone.

The standard allows much that viewers do not draw, or draw upside down without a word. Each :class:`Rule` says what goes wrong,
in which viewer, how that is known and what to do about it; ``docs/viewer-lint.md`` lists them all. They hold for anybody's
objects, and every result of ours passes them before it is sent.
"""

from dicom_io.viewer_lint.engine import RULES, lint, series_of
from dicom_io.viewer_lint.model import Finding, Kind, Rule, Severity, Viewer

__all__ = ["RULES", "Finding", "Kind", "Rule", "Severity", "Viewer", "lint", "series_of"]
