#!/bin/sh
# Runs the plugin's tests and the archive's contract, unchanged, against the Orthanc of Debian 13 in a chroot.
#
# The chroot (some 450 MB) is made once, from the Debian mirror that this machine's own apt uses, and kept for the next time.
# Needs root or sudo, and the Python environment of the repository.
#
# usage: tests/e2e/orthanc_newer.sh [pytest options]
#   APPRENTICE_E2E_CHROOT  folder of the chroot, default .cache/chroot-trixie
#   APPRENTICE_E2E_SUITE   Debian release, default trixie
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
suite=${APPRENTICE_E2E_SUITE:-trixie}
chroot=${APPRENTICE_E2E_CHROOT:-$root/.cache/chroot-$suite}
python=${PYTHON:-$root/.venv/bin/python}

if [ "$(id -u)" -ne 0 ]; then
    exec sudo --preserve-env=APPRENTICE_E2E_CHROOT,APPRENTICE_E2E_SUITE,PYTHON,http_proxy,https_proxy,no_proxy "$0" "$@"
fi

. "$root/tests/e2e/debian.sh"

say() { printf 'e2e-orthanc: %s\n' "$*" >&2; }

make_chroot() {
    say "making $chroot, once, about a minute"
    new_debian "$suite" "$chroot.part"
    printf '#!/bin/sh\nexit 101\n' >"$chroot.part/usr/sbin/policy-rc.d" # no service starts in there
    chmod 755 "$chroot.part/usr/sbin/policy-rc.d"
    [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$chroot.part/etc/resolv.conf"
    DEBIAN_FRONTEND=noninteractive chroot "$chroot.part" apt-get install -y -qq --no-install-recommends \
        orthanc orthanc-python orthanc-dicomweb >&2
    chroot "$chroot.part" apt-get clean
    mv -- "$chroot.part" "$chroot"
}

[ -x "$chroot/usr/sbin/Orthanc" ] || make_chroot
# shellcheck disable=SC2016 # dpkg-query fills these in
say "$(chroot "$chroot" dpkg-query --show --showformat '${Package} ${Version}, ' orthanc orthanc-python orthanc-dicomweb)"
cd "$root"
PACS_APPRENTICE_ORTHANC_CHROOT=$chroot "$python" -m pytest -m orthanc \
    tests/integration/test_orthanc_plugin.py tests/contract/test_archive.py "$@"
