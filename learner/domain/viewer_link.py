"""Addresses that open a viewer at a study, at one of its images, with a segmentation laid over it; made here alone."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

OWN_VIEWER = (
    "/ohif/segmentation?StudyInstanceUIDs={study}&hangingProtocolId=apprentice"
    "&initialSopInstanceUID={instance}&initialSeriesInstanceUID={segmentation}"
)
"""OHIF as the node serves it; its protocol ``apprentice`` is in ``config/ohif.js``."""
_PLACE = re.compile(r"\{(study|series|instance|segmentation)\}")


def viewer_link(template: str, study: str, *, series: str = "", instance: str = "", segmentation: str = "") -> str:
    """The address of a study in a viewer.

    Args:
        template: address with ``{study}``, and perhaps ``{series}`` (of images), ``{instance}`` (an image of it) and
            ``{segmentation}`` (series of a segmentation); empty for no viewer.
        study: Study Instance UID.
        series: Series Instance UID of the images, where known.
        instance: SOP Instance UID of the image to open at, where known.
        segmentation: Series Instance UID of the segmentation to lay over it, where known.

    Returns:
        An address of http or https, or a path on the node's own server. Parameters of the query for which nothing is known are
        left out. Empty where there is no viewer, no study, or the template is neither.
    """
    if not template or not study or urlsplit(template).scheme not in {"", "http", "https"}:
        return ""
    known = {"study": study, "series": series, "instance": instance, "segmentation": segmentation}
    address, mark, query = template.partition("?")
    kept = [part for part in query.split("&") if all(known[name] for name in _PLACE.findall(part))]
    return _PLACE.sub(lambda place: quote(known[place[1]], safe=""), f"{address}{mark}{'&'.join(kept)}")
