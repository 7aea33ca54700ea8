#!/bin/sh
# Installs PACS Apprentice on this machine as a service of systemd, beside an Orthanc. Run again it upgrades, or mends what is
# missing; what the site has set in /etc/pacs-apprentice and what was learned in /var/lib/pacs-apprentice stay.
#
# usage: install.sh [--bundle FOLDER] [--no-orthanc] [--no-start]
#        install.sh --uninstall [--purge]
#   --bundle FOLDER  take everything from the folder of an offline bundle (its own install.sh says so)
#   --no-orthanc     neither install nor configure an Orthanc: the archive is elsewhere
#   --no-start       do not start the services
#   --uninstall      remove programs and units; settings, secrets and data stay, and so do Orthanc and its images
#   --purge          with --uninstall: settings, secrets, the user and all that was learned go too; images never
set -eu
source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
opt=/opt/pacs-apprentice
etc=/etc/pacs-apprentice
data=/var/lib/pacs-apprentice
unit=/etc/systemd/system/pacs-apprentice.service
dropin=/etc/systemd/system/orthanc.service.d/pacs-apprentice.conf
user=pacs-apprentice
# shellcheck source=packaging/packages.sh
. "$source/packaging/packages.sh"
bundle='' orthanc=yes start=yes uninstall='' purge=''

say() { printf 'install: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
usage() { sed -n '5,10s/^# \{0,1\}//p' "$0"; }

while [ $# -gt 0 ]; do
  case $1 in
    --bundle) bundle=${2:?--bundle needs a folder}; shift ;;
    --no-orthanc) orthanc='' ;;
    --no-start) start='' ;;
    --uninstall) uninstall=yes ;;
    --purge) purge=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "no option '$1'" ;;
  esac
  shift
done
[ -z "$purge" ] || [ -n "$uninstall" ] || die "--purge goes with --uninstall"
[ "$(id -u)" = 0 ] || die "needs root"
umask 022

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

# systemd runs: not in a chroot, nor while an image is built.
running() { [ -d /run/systemd/system ]; }

# From the bundle, whose hashes were compared, or from the archive that apt is set up with. Newer versions that are there stay.
packages() {
  missing=
  for package in "$@"; do installed "$package" || missing="$missing $package"; done
  [ -n "$missing" ] || return 0
  say "Debian packages:$missing"
  if [ -n "$bundle" ]; then
    lists=$(mktemp -d)
    printf 'deb [trusted=yes] file:%s/debian ./\n' "$bundle" >"$lists/sources.list"
    mkdir -p "$lists/lists/partial"
    set -- -o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$lists/lists" \
      -o APT::Sandbox::User=root -o Acquire::Languages=none
  else
    lists=
    set --
  fi
  # Orthanc would start with Debian's configuration at once.
  policy=/usr/sbin/policy-rc.d
  made_policy=
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
    made_policy=yes
  fi
  failed=
  # shellcheck disable=SC2086 # a list of package names
  { apt-get "$@" update -qq && DEBIAN_FRONTEND=noninteractive apt-get "$@" install -y -qq --no-install-recommends $missing >/dev/null; } || failed=yes
  [ -z "$made_policy" ] || rm -f $policy
  [ -z "$lists" ] || rm -rf "$lists"
  [ -z "$failed" ] || die "the Debian packages could not be installed"
}

make_user() {
  getent passwd $user >/dev/null ||
    useradd --system --user-group --home-dir $data --no-create-home --shell /usr/sbin/nologin $user
  install -d -o $user -g $user -m 700 $data
  install -d -m 755 $etc $opt $opt/releases
}

version() { sed -n 's/^version = "\(.*\)"$/\1/p' "$source/pyproject.toml"; }

# What tells this version's files from others' of the same number.
revision() { (cd "$source" && cat constraints.txt packaging/learner.sh && find learner dicom_io orthanc_plugin config -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs cat) | sha256sum | cut -c 1-10; }

viewer_folder() {
  if [ -n "$bundle" ]; then printf '%s/ohif\n' "$bundle"
  else find "$source/.cache" -maxdepth 1 -name 'ohif-*' 2>/dev/null | LC_ALL=C sort | tail -n 1
  fi
}

# A release is made beside those that are there, and only then becomes the current one.
make_release() {
  release=$opt/releases/$(version)-$(revision)-${TORCH:-cpu}
  if [ ! -e "$release/.complete" ]; then
    say "release $(basename "$release") (some minutes)"
    rm -rf "$release"
    install -d -m 755 "$release"
    sh "$source/packaging/learner.sh" "$source" "$release/venv" ${bundle:+"$bundle/wheels"}
    for folder in orthanc_plugin config docs; do cp -R "$source/$folder" "$release/"; done
    install -m 644 "$source/LICENSE" "$source/packaging/install.sh" "$release/"
    chown -R root:root "$release"
    : >"$release/.complete"
  fi
  viewer=$(viewer_folder)
  if [ ! -e "$release/ohif" ] && [ -e "$viewer/index.html" ]; then
    cp -R "$viewer/." "$release/.ohif"
    chown -R root:root "$release/.ohif"
    mv "$release/.ohif" "$release/ohif"
  fi
  [ -e "$release/ohif" ] || say "no viewer: ./run viewer gets OHIF; install again after it, and name it in section viewer"
  previous=$(readlink $opt/current || true)
  ln -sfn "releases/$(basename "$release")" $opt/.current
  mv -T $opt/.current $opt/current
  ln -sfn current/orthanc_plugin $opt/orthanc_plugin
  install -m 755 "$source/packaging/apprentice.sh" /usr/local/bin/apprentice
  # The release before this one stays, for a way back.
  for old in "$opt"/releases/*; do
    case releases/$(basename "$old") in "releases/$(basename "$release")" | "$previous") ;; *) rm -rf "$old" ;; esac
  done
}

word() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# A secret of the node's: its user's alone.
secret() {
  [ -s "$1" ] || (umask 077; word >"$1")
  chown $user:$user "$1"
  chmod 600 "$1"
}

settings() {
  if [ ! -e $etc/apprentice.toml ]; then
    install -m 644 "$source/packaging/apprentice.toml" $etc/
    [ -e $opt/current/ohif ] || sed -i '/^\[viewer\]/,/^$/ s/^\([a-z]\)/# \1/' $etc/apprentice.toml
  fi
  if [ ! -e $etc/tasks ]; then
    install -d -m 755 $etc/tasks
    install -m 644 "$source"/config/tasks/*.toml $etc/tasks/
  fi
  secret $etc/orthanc-password
  secret $etc/node-token
  if [ ! -s $etc/plugin-token ]; then
    (umask 077; /usr/local/bin/apprentice access add-token "orthanc-$(word | cut -c 1-6)" --role reader >$etc/plugin-token)
  fi
  chown root:"$(getent group orthanc >/dev/null && echo orthanc || echo root)" $etc/plugin-token
  chmod 640 $etc/plugin-token
}

# Only an Orthanc that this script brought: one that was there before is the site's own.
archive() {
  [ -n "$own_orthanc" ] || return 0
  install -d -o root -g orthanc -m 750 $etc/orthanc
  python3 "$source/packaging/orthanc_configuration.py" "$source/config/orthanc.json" $etc/orthanc $etc/orthanc-password $etc/plugin-token
  chown root:orthanc $etc/orthanc/*.json
  install -d -o orthanc -g orthanc -m 750 /var/lib/orthanc/pacs-apprentice
  install -D -m 644 "$source/packaging/orthanc.conf" $dropin
}

units() {
  install -D -m 644 "$source/packaging/pacs-apprentice.service" $unit
  running || { say "systemd does not run here: units are installed, nothing was started"; return 0; }
  systemctl daemon-reload
  systemctl enable --quiet pacs-apprentice.service
  [ -n "$start" ] || return 0
  [ -z "$own_orthanc" ] || systemctl restart orthanc.service
  systemctl restart pacs-apprentice.service
}

remove() {
  if running; then systemctl disable --quiet --now pacs-apprentice.service 2>/dev/null || true; fi
  rm -f $unit /usr/local/bin/apprentice $etc/orthanc/plugin.json
  rm -rf $opt
  left="Debian packages and /var/lib/orthanc"
  if [ -n "$purge" ]; then
    rm -rf $etc $data /var/cache/pacs-apprentice $dropin
    if getent passwd $user >/dev/null; then userdel $user; fi
  else
    left="$left, $etc and $data"
  fi
  if running; then
    systemctl daemon-reload
    systemctl try-restart orthanc.service || true
  fi
  say "removed; what is left: $left"
}

if [ -n "$uninstall" ]; then remove; exit 0; fi
command -v apt-get >/dev/null || die "no Debian here"
# This script's Orthanc has its mark; one without it was there before.
own_orthanc=
if [ -n "$orthanc" ] && { [ -e $dropin ] || ! installed orthanc; }; then own_orthanc=yes; fi
# shellcheck disable=SC2086 # a list of package names
packages $learner_packages
# shellcheck disable=SC2086 # a list of package names
[ -z "$own_orthanc" ] || packages $archive_packages
make_user
make_release
settings
archive
units
say "$(basename "$(readlink $opt/current)") is installed: settings in $etc, data in $data"
[ -n "$own_orthanc" ] || say "your Orthanc was left alone: docs/existing-pacs.md says what belongs into its configuration; its password goes to $etc/orthanc-password"
say "next: apprentice access add-user NAME --role admin; then apprentice doctor"
