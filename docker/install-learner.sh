#!/bin/sh
# Installs the learner into a Python image. Run as root, while the image is built: install-learner.sh SOURCE_FOLDER
set -eu
source=$1
# Empty build arguments must not hide the index that pip would take by itself.
[ -n "${PIP_INDEX_URL:-}" ] || unset PIP_INDEX_URL
[ -n "${PIP_EXTRA_INDEX_URL:-}" ] || unset PIP_EXTRA_INDEX_URL
install_packages() { pip install --quiet --no-cache-dir --disable-pip-version-check --root-user-action=ignore "$@"; }
# Every file has the hash that is on record, but for torch, of which each index has builds of its own: its version has to do.
install_packages --no-deps --require-hashes -r "$source/requirements/node.txt"
install_packages -c "$source/constraints.txt" torch
install_packages --no-deps --no-build-isolation "$source"
useradd --system --uid 10075 --home-dir /nonexistent --shell /usr/sbin/nologin apprentice
install -d -o apprentice -g apprentice -m 700 /var/lib/pacs-apprentice
