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

say() { printf 'e2e-orthanc: %s\n' "$*" >&2; }

# The Debian archive that apt is set up with here: never a fixed address.
mirror() {
    apt-get indextargets 'Created-By: Packages' 'Component: main' --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' |
        sed -n 's/^Debian|Debian|//p' | head -n 1
}

apt_proxy() {
    PROXY=
    eval "$(apt-config shell PROXY Acquire::http::Proxy)"
    case $PROXY in '' | DIRECT) printf '%s' "${http_proxy:-}" ;; *) printf '%s' "$PROXY" ;; esac
}

make_chroot() {
    command -v debootstrap >/dev/null || {
        say 'installing debootstrap'
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends debootstrap >&2
    }
    from=$(mirror)
    [ -n "$from" ] || { say 'no Debian archive among the sources of apt; run apt-get update'; exit 1; }
    http_proxy=$(apt_proxy)
    export http_proxy
    [ -n "$http_proxy" ] || unset http_proxy
    say "making $chroot, once, about a minute"
    rm -rf -- "$chroot.part"
    mkdir -p -- "$chroot.part"
    debootstrap --variant=minbase "$suite" "$chroot.part" "$from" >&2
    printf '#!/bin/sh\nexit 101\n' >"$chroot.part/usr/sbin/policy-rc.d" # no service starts in there
    chmod 755 "$chroot.part/usr/sbin/policy-rc.d"
    [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$chroot.part/etc/resolv.conf"
    DEBIAN_FRONTEND=noninteractive chroot "$chroot.part" apt-get install -y -qq --no-install-recommends \
        orthanc orthanc-python orthanc-dicomweb >&2
    chroot "$chroot.part" apt-get clean
    mv -- "$chroot.part" "$chroot"
}

[ -x "$chroot/usr/sbin/Orthanc" ] || make_chroot
say "$(chroot "$chroot" dpkg-query --show --showformat '${Package} ${Version}, ' orthanc orthanc-python orthanc-dicomweb)"
cd "$root"
PACS_APPRENTICE_ORTHANC_CHROOT=$chroot "$python" -m pytest -m orthanc \
    tests/integration/test_orthanc_plugin.py tests/contract/test_archive.py "$@"
