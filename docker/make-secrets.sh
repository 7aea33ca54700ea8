#!/bin/sh
# Writes the secrets that compose.yaml names, once: sh docker/make-secrets.sh
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

# For the profile tls. A certificate that nobody signed, to begin with: put the hospital's in its place.
if [ -e "$folder/tls_key" ]; then
  echo "make-secrets: tls_key is there already" >&2
elif command -v openssl >/dev/null; then
  name=$(hostname)
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$name" \
    -addext "subjectAltName=DNS:$name,DNS:localhost" -keyout "$folder/tls_key" -out "$folder/tls_certificate" 2>/dev/null
  chmod 444 "$folder/tls_key" "$folder/tls_certificate"
  echo "make-secrets: tls_certificate and tls_key written, signed by nobody but themselves" >&2
fi
