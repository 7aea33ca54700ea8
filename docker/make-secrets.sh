#!/bin/sh
# Writes the secrets that compose.yaml and monitoring.yaml name, once: sh docker/make-secrets.sh
# The folder is its owner's alone. The files in it can be read by all, because containers read them as other users.
set -eu
folder=$(dirname "$0")/secrets
mkdir -p "$folder"
chmod 700 "$folder"
for name in apprentice_token orthanc_password grafana_password; do
  if [ -e "$folder/$name" ]; then
    echo "make-secrets: $name is there already" >&2
  else
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$folder/$name"
    chmod 444 "$folder/$name"
    echo "make-secrets: $name written" >&2
  fi
done
