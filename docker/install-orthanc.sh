#!/bin/sh
# Puts Orthanc with its plugins, its configuration and its start script in their places. Run as root, while the image is built:
# install-orthanc.sh SOURCE, which is removed. In the image of Orthanc's maintainers only the plugins are chosen, in Debian's
# all is installed. Its user has the same number in both, so that they can take over each other's data.
set -eu
source=$1
available=/usr/share/orthanc/plugins-available
if [ -d $available ]; then
  for plugin in Python DicomWeb Gdcm; do ln -sf "$available/libOrthanc$plugin.so" /usr/share/orthanc/plugins/; done
else
  # shellcheck source=packaging/packages.sh
  . "$source/packaging/packages.sh"
  groupadd --system --gid 999 orthanc
  useradd --system --uid 999 --gid 999 --home-dir /var/lib/orthanc --shell /usr/sbin/nologin orthanc
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of package names
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $archive_packages
  rm -rf /var/lib/apt/lists/*
fi
install -D -m 644 "$source/docker/orthanc.json" /etc/pacs-apprentice/orthanc.json
install -m 755 "$source/docker/start-orthanc.sh" /usr/local/bin/start-orthanc
install -m 755 "$source/docker/check-orthanc.sh" /usr/local/bin/check-orthanc
install -d -o 999 -g 999 -m 700 /var/lib/orthanc/db
rm -rf "$source"
