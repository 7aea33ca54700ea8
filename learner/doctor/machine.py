"""Checks of the machine: folders, disk, secrets, certificates, limits."""

from __future__ import annotations

import os
import resource
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from learner.doctor.findings import Findings, error, ok, warning
from learner.doctor.site import Site
from learner.errors import ConfigurationError
from learner.settings import Settings, read_secret

_GIB = 2**30
_LEAST_FREE_GIB = 2.0
_LEAST_FREE_INODES = 10_000
_LEAST_OPEN_FILES = 1024
_SOON_DAYS = 30
_MOUNTS = Path("/proc/self/mounts")
_OF_A_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs"})


def data_folder(site: Site) -> Findings:
    """The data folder can be written, by this user alone, and its disk can lock files."""
    folder = site.settings.node.data.resolve()
    present = _present(folder)
    if not present.is_dir() or not _can_write(present):
        yield error(f"{present} cannot be written", "Give this user the right to write it, or set node.data to another folder.")
        return
    kind = _file_system(present)
    if kind in _OF_A_NETWORK:
        yield error(
            f"{folder} is on a network file system ({kind}), on which a database can be damaged",
            "Set node.data to a disk of this machine.",
        )
        return
    if present == folder and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        what = f"others may look into {folder}, which holds patient data (mode {stat.S_IMODE(folder.stat().st_mode):o})"
        yield warning(what, f"chmod 700 {folder}")
    else:
        yield ok(str(folder))


def disk(site: Site) -> Findings:
    """There is room."""
    present = _present(site.settings.node.data.resolve())
    free = shutil.disk_usage(present).free / _GIB
    least = site.settings.node.min_free_mb / 1024
    wanted = max(_LEAST_FREE_GIB, least) + site.settings.learning.replay_mb / 1024 * max(len(site.tasks), 1)
    inodes = os.statvfs(present)
    if free < _LEAST_FREE_GIB:
        yield error(
            f"{free:.1f} GiB are free at {present}", "Free some space, or set node.data to another disk (docs/operations.md)."
        )
    elif inodes.f_files and inodes.f_favail < _LEAST_FREE_INODES:
        yield error(f"{inodes.f_favail} more files can be made at {present}", "Remove files, or set node.data to another disk.")
    elif free < least:
        what = f"{free:.1f} GiB are free, less than node.min_free_mb: nothing is learned, answers go on"
        yield error(what, "Free some space, or lower node.min_free_mb.")
    elif free < wanted:
        what = f"{free:.1f} GiB are free; full replay memories want {wanted:.1f}"
        yield warning(what, "Free some space, or lower learning.replay_mb.")
    else:
        yield ok(f"{free:.1f} GiB are free")


def secrets(site: Site) -> Findings:
    """Files with secrets can be read, and by nobody else."""
    settings = site.settings
    for key, path in _secret_files(settings):
        try:
            read_secret(path)
        except ConfigurationError as fault:
            yield error(f"{key}: {fault}", f"Write the secret into {path}, readable by the node's user (chmod 600).")
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield warning(f"{key}: others may read or write {path} (mode {mode:o})", f"chmod 600 {path}")
        else:
            yield ok(f"{key}: {path} is this user's alone")
    if settings.api.token_file is None:
        yield ok("api.token_file: none; everybody on this machine may use the API")


def _secret_files(settings: Settings) -> Iterator[tuple[str, Path]]:
    api, pacs, scp = settings.api, settings.pacs, settings.scp
    files = {
        "node.encryption_key_file": settings.node.encryption_key_file,
        "api.token_file": api.token_file,
        "api.tls_key": api.tls_key,
        "pacs.password_file": pacs.password_file,
        "pacs.token_file": pacs.token_file,
        "pacs.tls_key_file": pacs.tls_key_file,
        "scp.tls_key_file": scp.tls_key_file,
    }
    yield from ((key, path) for key, path in files.items() if path is not None)


def certificates(site: Site) -> Findings:
    """Certificates in the settings' files are valid now, and for a month."""
    api, pacs, scp = site.settings.api, site.settings.pacs, site.settings.scp
    files = {
        "api.tls_certificate": api.tls_certificate,
        "api.client_ca": api.client_ca,
        "pacs.tls_ca_file": pacs.tls_ca_file,
        "pacs.tls_certificate_file": pacs.tls_certificate_file,
        "scp.tls_certificate_file": scp.tls_certificate_file,
        "scp.tls_ca_file": scp.tls_ca_file,
    }
    for key, path in files.items():
        if path is not None:
            yield from _certificate_file(key, path)


def _certificate_file(key: str, path: Path) -> Findings:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as fault:
        yield error(f"{key}: {path} cannot be read ({fault.strerror})", "Check the path and its rights.")
        return
    except ValueError:
        yield error(f"{key}: {path} holds no certificate in PEM form", "Write the certificate into it, in PEM form.")
        return
    now = datetime.now(UTC)
    for certificate in found:
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        days = (ends - now).days
        if ends < now:
            yield error(f"{key}: a certificate in {path} expired on {ends:%Y-%m-%d}", "Renew it, and restart.")
        elif begins > now:
            yield error(f"{key}: {path} is valid from {begins:%Y-%m-%d} on", "Check this machine's clock, or the certificate.")
        elif days < _SOON_DAYS:
            yield warning(f"{key}: a certificate in {path} expires on {ends:%Y-%m-%d}, in {days} days", "Renew it before.")
        else:
            yield ok(f"{key}: valid until {ends:%Y-%m-%d}")


def limits(_site: Site) -> Findings:
    """Enough files may be open: connections, the database, files that are written."""
    allowed, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed != resource.RLIM_INFINITY and allowed < _LEAST_OPEN_FILES:
        what = f"{allowed} files may be open at a time ({hard} at most)"
        yield warning(what, f"Raise it to {_LEAST_OPEN_FILES} or more where the node is started: `ulimit -n`, or LimitNOFILE=.")
    else:
        yield ok(f"{'any number of' if allowed == resource.RLIM_INFINITY else allowed} files may be open")


def _present(folder: Path) -> Path:
    """The folder, or the nearest one above that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _can_write(folder: Path) -> bool:
    """Whether this process may write a folder; a disk that is mounted read-only lets nobody."""
    read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    return not read_only and os.access(folder, os.W_OK | os.X_OK)


def _file_system(path: Path) -> str:
    """Kind of the file system that a path is on; empty where the system does not tell."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    mounts = [line.split() for line in lines]
    over = [(len(fields[1]), fields[2]) for fields in mounts if path.is_relative_to(fields[1].replace("\\040", " "))]
    return max(over)[1] if over else ""
