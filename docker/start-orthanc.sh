#!/bin/sh
# Starts Orthanc with the configuration of the image and one user, whose password is a secret file.
set -eu
configuration=${ORTHANC_CONFIGURATION:-/etc/pacs-apprentice/orthanc.json}
secret=${ORTHANC_PASSWORD_FILE:-/run/secrets/orthanc_password}
password=$(cat "$secret")
case $password in
  '' | *[!A-Za-z0-9._-]*) echo "start-orthanc: $secret must hold one word of letters, digits, '.', '_' and '-'" >&2; exit 1 ;;
esac
# Orthanc reads every JSON file of a folder. The one with the password is this user's alone, on a file system in memory.
umask 077
folder=$(mktemp -d)
cp "$configuration" "$folder/orthanc.json"
printf '{ "RegisteredUsers": { "%s": "%s" } }\n' "${ORTHANC_USER:-apprentice}" "$password" >"$folder/users.json"
exec Orthanc "$folder"
