from orthanc_fixtures import make_orthanc, orthanc

__all__ = ["make_orthanc", "orthanc"]
