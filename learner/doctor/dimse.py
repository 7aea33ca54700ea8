"""Checks of DIMSE services: the archive's, and the node's own."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlsplit

from pynetdicom.presentation import build_context

from dicom_io.errors import PacsError, PacsRefused
from dicom_io.pacs.association import Peer, association, echo
from learner.doctor.findings import Findings, Found, error, ok, warning
from learner.doctor.site import TIMEOUT_S, Site
from learner.wiring.archive import build_peer

_VERIFICATION = "1.2.840.10008.1.1"
_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"


def echoes(site: Site) -> Findings:
    """Where the settings use the archive's DIMSE services: C-ECHO, by our and its AE title, by TLS where that is asked for."""
    pacs = site.settings.pacs
    if "dimse" not in (pacs.kind, pacs.store_by):
        return
    peer = replace(build_peer(pacs), timeout=TIMEOUT_S)
    try:
        echo(peer)
    except PacsRefused as fault:
        yield error(str(fault), f"Let it know {pacs.calling_aet}, and correct pacs.called_aet and pacs.calling_aet.")
    except PacsError as fault:
        yield _no_association(site, fault)
    else:
        yield ok(f"{peer.name} answers C-ECHO{' by TLS' if pacs.dimse_tls else ''}")


def _no_association(site: Site, fault: PacsError) -> Found:
    pacs = site.settings.pacs
    where = f"{pacs.dimse_host}:{pacs.dimse_port}"
    if pacs.dimse_tls:
        remedy = f"Check that it speaks TLS, and pacs.tls_ca_file; `openssl s_client -connect {where}` shows its certificate."
        return error(str(fault), remedy)
    return error(str(fault), "Start the archive's DIMSE service, or correct pacs.dimse_host and pacs.dimse_port.")


def label_maps(site: Site) -> Findings:
    """Orthanc accepts the SOP class of label maps, as newer viewers send them; nothing is sent."""
    port, called = site.system.get("DicomPort"), site.system.get("DicomAet")
    host = urlsplit(site.settings.pacs.url).hostname
    if not (site.is_orthanc and isinstance(port, int) and isinstance(called, str) and host):
        return
    pacs = site.settings.pacs
    tls = build_peer(pacs).tls if pacs.dimse_tls else None
    peer = Peer(host, port, called, pacs.calling_aet, TIMEOUT_S, tls)
    contexts = [build_context(one) for one in (_VERIFICATION, _SEGMENTATION, _LABEL_MAP)]
    try:
        with association(peer, contexts) as opened:
            taken = {str(context.abstract_syntax) for context in opened.accepted_contexts}
    except PacsError:
        return  # not open to us; the settings do not need it, or the check of DIMSE has said so
    if _LABEL_MAP in taken:
        yield ok("accepted by C-STORE")
    elif _SEGMENTATION in taken:
        what = "Orthanc refuses label map segmentations by C-STORE, as newer viewers send them"
        yield warning(what, "Set UnknownSopClassAccepted to true in Orthanc's configuration.")


def own_service(site: Site) -> Findings:
    """The node's own DICOM service, where the settings ask for one."""
    pacs, scp = site.settings.pacs, site.settings.scp
    if pacs.kind != "inbox" and not (pacs.kind == "dimse" and pacs.retrieve_by == "move"):
        return
    calling = scp.allowed_aets[0] if scp.allowed_aets else "DOCTOR"
    tls = build_peer(pacs.model_copy(update={"dimse_tls": True, "tls_check_hostname": False})).tls if scp.tls else None
    host = "127.0.0.1" if scp.host == "0.0.0.0" else scp.host  # noqa: S104 - no address to listen on
    try:
        echo(Peer(host, scp.port, pacs.calling_aet, calling, TIMEOUT_S, tls))
    except PacsError as fault:
        yield error(str(fault), "Start `apprentice serve`; check section scp of the settings, and its certificate.")
    else:
        yield ok(f"{pacs.calling_aet} answers C-ECHO at port {scp.port}")
