#!/bin/sh
# What tests/e2e/bundle.sh does on the machine without a network, as root: install, answer, install again, mend, remove.
set -eu
export PYTHONDONTWRITEBYTECODE=1 # nothing is added to the bundle
began=$(date +%s)
step() { printf '  %4d s  %s\n' $(($(date +%s) - began)) "$*"; }
fail() { step "FAIL: $*"; exit 1; }
settled() { # WHAT SECONDS COMMAND...: until the command succeeds
  what=$1 left=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || fail "$what"
    sleep 1
  done
}
bundle=/root/bundle
python=/opt/pacs-apprentice/current/venv/bin/python
get() { $python -c 'import sys, urllib.request as r; sys.stdout.buffer.write(r.urlopen(sys.argv[1], timeout=5).read())' "$@"; }

[ "$(ls /sys/class/net)" = lo ] || fail "there is a network here: $(ls /sys/class/net)"
[ "$(wc -l </proc/net/route)" = 1 ] || fail "there is a route out of here"
! dpkg-query -W orthanc 2>/dev/null || fail "Orthanc is here already"
step "no network, no Orthanc, $(. /etc/os-release && echo "$PRETTY_NAME")"

printf x >>$bundle/project/README.md
! sh $bundle/install.sh 2>/tmp/refused || fail "a damaged bundle was installed"
grep -q 'README.md: FAILED' /tmp/refused || fail "what is damaged was not said"
truncate -s -1 $bundle/project/README.md
: >$bundle/wheels/evil-1-py3-none-any.whl
! sh $bundle/install.sh 2>/dev/null || fail "a bundle with a file too many was installed"
rm $bundle/wheels/evil-1-py3-none-any.whl
step "a damaged bundle, and one with a file too many, are refused"

sh $bundle/install.sh
step "installed"
settled "the learner does not read the archive: $(journalctl -u pacs-apprentice -n 20 --no-pager)" 90 get http://127.0.0.1:8075/health/ready
step "the learner reads the archive"
$python $bundle/project/tests/e2e/play_annotation.py /etc/pacs-apprentice/orthanc-password
step "an answer stands in Orthanc"

[ "$(stat -c %U "/proc/$(systemctl show -P MainPID pacs-apprentice)")" = pacs-apprentice ] || fail "the learner runs as another user"
[ "$(systemctl show -P NRestarts pacs-apprentice)" = 0 ] || fail "the learner was restarted"
! journalctl -u pacs-apprentice --no-pager | grep '"level": "error"' || fail "errors in the log"
get http://127.0.0.1:8075/api/status 2>&1 | grep -q 'HTTP Error 401' || fail "anybody may read the API"
printf 'correct horse battery' | apprentice access add-user ops --role admin --password-file -
apprentice doctor || [ $? = 1 ] || fail "apprentice doctor finds an error"
step "closed to strangers; apprentice doctor finds no error"

answers=$(apprentice rounds --json)
before=$(readlink /opt/pacs-apprentice/current)
printf '\n# set by the site\n' >>/etc/pacs-apprentice/apprentice.toml
sh $bundle/install.sh
[ "$(readlink /opt/pacs-apprentice/current)" = "$before" ] || fail "another release after installing the same again"
grep -q 'set by the site' /etc/pacs-apprentice/apprentice.toml || fail "the site's settings are gone"
settled "the learner does not come back" 90 get http://127.0.0.1:8075/health/ready
[ "$(apprentice rounds --json)" = "$answers" ] || fail "what was learned is gone"
step "installed again: nothing lost"

sh $bundle/install.sh --uninstall
! [ -e /opt/pacs-apprentice ] || fail "programs are left"
for kept in /etc/pacs-apprentice/apprentice.toml /var/lib/pacs-apprentice/apprentice.sqlite; do
  [ -e $kept ] || fail "$kept is gone"
done
settled "Orthanc does not run without the plugin" 60 bash -c 'systemctl is-active orthanc && exec 3<>/dev/tcp/127.0.0.1/8042'
step "removed: settings, data and Orthanc are left"
sh $bundle/install.sh
settled "the learner does not come back" 90 get http://127.0.0.1:8075/health/ready
[ "$(apprentice rounds --json)" = "$answers" ] || fail "what was learned is gone after installing again"
step "and back again"
sh $bundle/install.sh --uninstall --purge
for gone in /etc/pacs-apprentice /var/lib/pacs-apprentice /opt/pacs-apprentice /etc/systemd/system/pacs-apprentice.service; do
  ! [ -e $gone ] || fail "$gone is left after --purge"
done
! getent passwd pacs-apprentice >/dev/null || fail "the user is left after --purge"
[ -n "$(find /var/lib/orthanc/pacs-apprentice -type f -size +1k | head -n 1)" ] || fail "images are gone"
step "purged; the images are left"
: >/root/passed
