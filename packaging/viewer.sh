#!/bin/sh
# Gets OHIF, which its maintainers publish built, as an npm package, and compares it with the file that was tested. Without two
# parts that nothing here uses: a runtime for neural networks in the browser, and the microscopy viewer.
#
# usage: viewer.sh FOLDER    FOLDER is made, with index.html in it
#        viewer.sh --version | --hash    of the file that was tested (SHA-256)
set -eu
version=3.12.10
hash=fbabd410be33e5b9898931b725229b9da9553aac339914b5c29796d3aa5d4b2d
case ${1:-} in
  --version) echo $version; exit 0 ;;
  --hash) echo $hash; exit 0 ;;
esac
folder=$1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "@ohif/app@$version") || { echo "OHIF $version could not be fetched" >&2; exit 1; }
archive=$(find "$work" -name '*.tgz')
printf '%s  %s\n' "$hash" "$archive" | sha256sum -c >/dev/null || { echo "OHIF $version is not the file that was tested" >&2; exit 1; }
tar -xzf "$archive" -C "$work" --exclude=package/dist/ort --exclude=package/dist/dicom-microscopy-viewer package/dist package/LICENSE
mkdir -p "$(dirname "$folder")"
mv "$work/package/LICENSE" "$work/package/dist/"
mv "$work/package/dist" "$folder"
