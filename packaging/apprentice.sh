#!/bin/sh
# The command line of the node of this machine: as its user, with its settings.
set -eu
export APPRENTICE_CONFIG="${APPRENTICE_CONFIG:-/etc/pacs-apprentice/apprentice.toml}"
export HOME=/var/lib/pacs-apprentice MPLCONFIGDIR=/var/lib/pacs-apprentice/.cache/matplotlib
program=/opt/pacs-apprentice/current/venv/bin/apprentice
[ "$(id -u)" != 0 ] || exec setpriv --reuid pacs-apprentice --regid pacs-apprentice --init-groups "$program" "$@"
exec "$program" "$@"
