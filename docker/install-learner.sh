#!/bin/sh
# Installs the learner into an image. Run as root, while the image is built: install-learner.sh SOURCE, which is removed.
set -eu
source=$1
sh "$source/packaging/learner.sh" "$source" /opt/pacs-apprentice/venv
rm -rf "$source"
groupadd --gid 10075 apprentice
useradd --uid 10075 --gid 10075 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin apprentice
install -d -o apprentice -g apprentice -m 700 /var/lib/pacs-apprentice
