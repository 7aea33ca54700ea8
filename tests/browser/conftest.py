from browser_fixtures import browser, playwright
from orthanc_fixtures import make_orthanc, make_orthanc_once, orthanc

__all__ = ["browser", "make_orthanc", "make_orthanc_once", "orthanc", "playwright"]
