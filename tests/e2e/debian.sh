# Sourced: makes a Debian in a folder, from the archive that this machine's apt is set up with: never from a fixed address.
# shellcheck shell=sh

apt_install() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# Address of Debian's archive.
mirror() {
  # shellcheck disable=SC2016 # apt fills these in
  apt-get indextargets 'Created-By: Packages' 'Component: main' --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' |
    sed -n 's/^Debian|Debian|//p' | head -n 1
}

apt_proxy() {
  PROXY=
  eval "$(apt-config shell PROXY Acquire::http::Proxy)"
  case $PROXY in '' | DIRECT) printf '%s' "${http_proxy:-}" ;; *) printf '%s' "$PROXY" ;; esac
}

# new_debian SUITE FOLDER [OPTIONS of debootstrap]
new_debian() {
  suite_=$1
  folder_=$2
  shift 2
  command -v debootstrap >/dev/null || apt_install debootstrap
  from=$(mirror)
  [ -n "$from" ] || { echo 'no Debian archive among the sources of apt; run apt-get update' >&2; return 1; }
  http_proxy=$(apt_proxy)
  export http_proxy
  [ -n "$http_proxy" ] || unset http_proxy
  rm -rf -- "$folder_"
  mkdir -p -- "$folder_"
  debootstrap --variant=minbase "$@" "$suite_" "$folder_" "$from" >&2
}
