#!/bin/sh
# Makes one archive from which PACS Apprentice is installed on a Debian machine without any network: ./run bundle
#
# In it: the wheels of constraints.txt, the Debian packages with all that they depend on, OHIF, the project as last committed,
# install.sh, SHA256SUMS, VERSION and LICENSES.md. For the Debian release, architecture and Python of this machine.
#
# usage: bundle.sh PYTHON VIEWER [FOLDER]
#   PYTHON       interpreter with pip, of the same version as Debian's
#   VIEWER       folder of OHIF's files
#   FOLDER       where the archive goes, default dist
#   TORCH, TORCH_INDEX  as in torch.sh
set -eu
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
python=$1
viewer=$2
out=${3:-$source/dist}
# shellcheck source=packaging/torch.sh
. "$source/packaging/torch.sh"
# shellcheck source=packaging/packages.sh
. "$source/packaging/packages.sh"

say() { printf 'bundle: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
tag() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

command -v apt-get >/dev/null || die "no Debian here: the packages of a bundle come from this machine's apt"
debian=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
architecture=$(dpkg --print-architecture)
[ "$(tag "$python")" = "$(tag /usr/bin/python3)" ] || die "needs the Python of this Debian, $(tag /usr/bin/python3)"
commit=$(git -C "$source" rev-parse --short=10 HEAD)
git -C "$source" diff --quiet HEAD || say "changes that are not committed are not in the bundle"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$source/pyproject.toml")
name=pacs-apprentice-$version-$commit-$debian-$architecture-$TORCH
mkdir -p "$out"
out=$(CDPATH='' cd -- "$out" && pwd)
work=$out/$name
rm -rf "$work"
mkdir -p "$work/debian/partial" "$work/wheels"

# An empty list of what is installed makes apt take the dependencies down to the C library, whatever is installed here.
say "Debian packages"
: >"$work/status"
# shellcheck disable=SC2086 # a list of package names
apt-get install -qq -y --download-only --no-install-recommends -o "Dir::State::status=$work/status" \
  -o "Dir::Cache::archives=$work/debian/" -o Debug::NoLocking=true -o APT::Sandbox::User=root $archive_packages $learner_packages >/dev/null
rm -rf "$work/status" "$work/debian/partial" "$work/debian/lock"
(
  cd "$work/debian"
  for file in *.deb; do
    dpkg-deb --field "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat -c %s "$file")" "$(sha256sum "$file" | cut -d ' ' -f 1)"
  done >Packages
)

say "project $version, commit $commit"
mkdir "$work/project"
git -C "$source" archive HEAD | tar -x -C "$work/project"

say "wheels"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
  -r "$source/requirements/node.txt" -r "$source/requirements/export.txt" --dest "$work/wheels" >&2
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/wheels" "$work/project" >&2
rm -rf "$work/project/build" "$work/project"/*.egg-info
"$python" -m pip download --quiet --disable-pip-version-check -c "$source/constraints.txt" --only-binary :all: \
  ${index:+--extra-index-url "$index"} --dest "$work/wheels" "$torch" "$(echo "$work"/wheels/pacs_apprentice-*.whl)[export]" >&2

say "viewer and licences"
cp -R "$viewer/." "$work/ohif"
"$python" "$source/supply/bundle_licences.py" "$work" >"$work/LICENSES.md"
cp "$source/packaging/bundle-install.sh" "$work/install.sh"
printf 'version=%s\ncommit=%s\ndebian=%s\narchitecture=%s\npython=%s\ntorch=%s\n' \
  "$version" "$commit" "$debian" "$architecture" "$(tag "$python")" "$TORCH" >"$work/VERSION"
(cd "$work" && find . -type f ! -path ./SHA256SUMS | LC_ALL=C sort | xargs -d '\n' sha256sum >SHA256SUMS)

# Wheels and packages are compressed already.
tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git -C "$source" log -1 --format=%ct)" -cf "$out/$name.tar" "$name"
rm -rf "$work"
(cd "$out" && sha256sum "$name.tar" >"$name.tar.sha256")
say "$(du -h "$out/$name.tar" | cut -f 1) in $out/$name.tar"
printf '%s\n' "$out/$name.tar"
