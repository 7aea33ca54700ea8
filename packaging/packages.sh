# Sourced: the Debian packages of an installation.
# shellcheck shell=sh disable=SC2034
archive_packages="orthanc orthanc-python orthanc-dicomweb orthanc-gdcm"
learner_packages="openssl python3-venv"
