from __future__ import annotations

from orthanc_fixtures import orthanc

__all__ = ["orthanc"]
