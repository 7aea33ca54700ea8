#!/bin/sh
# Installs the learner into a Python image. Run as root, while the image is built: install-learner.sh SOURCE_FOLDER
set -eu
source=$1
# Empty build arguments must not hide the index that pip would take by itself.
[ -n "${PIP_INDEX_URL:-}" ] || unset PIP_INDEX_URL
[ -n "${PIP_EXTRA_INDEX_URL:-}" ] || unset PIP_EXTRA_INDEX_URL
pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore -c "$source/constraints.txt" "$source"
useradd --system --uid 10075 --home-dir /nonexistent --shell /usr/sbin/nologin apprentice
install -d -o apprentice -g apprentice -m 700 /var/lib/pacs-apprentice
