from orthanc_fixtures import make_orthanc, make_orthanc_once, orthanc

__all__ = ["make_orthanc", "make_orthanc_once", "orthanc"]
