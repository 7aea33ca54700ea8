#!/bin/sh
# Proves that a bundle installs and works without any network: on a fresh Debian 12, booted with its own systemd in a network
# namespace that holds a loopback device and nothing else. Images and a drawing go in; the answer has to stand in its Orthanc.
#
# The fresh Debian comes from the mirror that apt is set up with here, once, and is kept in .cache. Needs root, on a Debian.
#
# usage: tests/e2e/bundle.sh BUNDLE.tar
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
bundle=$(readlink -f "$1")
suite=bookworm
fresh=$root/.cache/fresh-$suite
machine=$root/.cache/machine-without-network
began=$(date +%s)
. "$root/tests/e2e/debian.sh"

say() { printf 'e2e-bundle: %4d s  %s\n' $(($(date +%s) - began)) "$*" >&2; }

command -v systemd-nspawn >/dev/null || apt_install systemd-container
if [ ! -e "$fresh/etc/os-release" ]; then
  say "a fresh Debian, once, about a minute"
  new_debian "$suite" "$fresh.part" --include=systemd,systemd-sysv
  mv "$fresh.part" "$fresh"
fi

say "a machine: $(basename "$bundle") on it"
rm -rf "$machine"
cp -a "$fresh" "$machine"
rm -f "$machine/etc/resolv.conf" "$machine/etc/apt/apt.conf.d/"*proxy*
: >"$machine/etc/apt/sources.list"
mkdir "$machine/root/bundle"
tar -xf "$bundle" -C "$machine/root/bundle" --strip-components=1
cp "$root/tests/e2e/bundle_machine.sh" "$machine/root/check.sh"
cat >"$machine/etc/systemd/system/check.service" <<'UNIT'
[Unit]
Description=What is checked on the machine
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /root/check.sh
ExecStopPost=/bin/systemctl --no-block start poweroff.target
StandardOutput=append:/root/check.log
StandardError=append:/root/check.log
TimeoutStartSec=20min
UNIT
mkdir -p "$machine/etc/systemd/system/multi-user.target.wants"
ln -s ../check.service "$machine/etc/systemd/system/multi-user.target.wants/check.service"

say "it boots, without a network"
systemd-nspawn --quiet --register=no --keep-unit --private-network --boot --directory "$machine" </dev/null >"$machine.console" 2>&1 || true
cat "$machine/root/check.log" >&2 || true
if [ -e "$machine/root/passed" ]; then
  say "PASS"
  rm -rf "$machine" "$machine.console"
else
  say "FAIL; the machine is left in $machine, its console in $machine.console"
  exit 1
fi
