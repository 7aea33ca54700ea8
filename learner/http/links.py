"""Addresses in a viewer. All links of the API and the page to images are made here."""

from __future__ import annotations

from urllib.parse import quote, urlsplit


def slice_link(template: str, study_uid: str, series_uid: str = "", sop_instance_uid: str = "") -> str:
    """Address of a study in a viewer, at one slice where the template has a place for it.

    Args:
        template: address with ``{study}``, and perhaps ``{series}`` and ``{instance}``; empty for no viewer.
        study_uid: Study Instance UID.
        series_uid: Series Instance UID of the images.
        sop_instance_uid: SOP Instance UID of the slice.

    Returns:
        An address of http or https, or a path on this server; empty where there is no viewer, or the template is neither.
    """
    if not template or urlsplit(template).scheme not in {"", "http", "https"}:
        return ""
    values = {"{study}": study_uid, "{series}": series_uid, "{instance}": sop_instance_uid}
    for name, value in values.items():
        template = template.replace(name, quote(value, safe=""))
    return template
