#!/bin/sh
# Installs PACS Apprentice from this folder, without any network. As root: sh install.sh [OPTIONS of project/packaging/install.sh]
#
# First every file is compared with SHA256SUMS; compare that file's own hash, or the archive's, with what you were told.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cd "$here"
die() { printf 'install: %s\n' "$*" >&2; exit 1; }

sha256sum --check --strict --quiet SHA256SUMS >&2 || die "files are damaged, or not those that were packed; nothing was installed"
listed=$(mktemp)
trap 'rm -f "$listed"' EXIT
sed 's/^[0-9a-f]*  //' SHA256SUMS | LC_ALL=C sort >"$listed"
find . -type f ! -path ./SHA256SUMS | LC_ALL=C sort | cmp -s - "$listed" || die "there are files that SHA256SUMS does not list; nothing was installed"

told() { sed -n "s/^$1=//p" VERSION; }
case " $* " in
  *' --uninstall '*) ;;
  *)
    release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-unknown}")
    [ "$release" = "$(told debian)" ] || die "this bundle is for Debian $(told debian), and here is $release"
    [ "$(dpkg --print-architecture)" = "$(told architecture)" ] || die "this bundle is for $(told architecture)"
    TORCH=$(told torch)
    export TORCH
    ;;
esac
sh project/packaging/install.sh --bundle "$here" "$@"
