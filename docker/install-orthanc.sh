#!/bin/sh
# Installs Orthanc with its plugins into a Debian 12 image. Run as root, while the image is built.
set -eu
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
  orthanc orthanc-python orthanc-dicomweb orthanc-gdcm curl
rm -rf /var/lib/apt/lists/*
install -d -o orthanc -g orthanc -m 700 /var/lib/orthanc/db
