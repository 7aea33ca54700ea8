#!/bin/sh
# Puts the learner with its pinned dependencies into a new Python environment. The container image, the installation on a
# machine and the one from a bundle all go through here.
#
# usage: learner.sh SOURCE ENVIRONMENT [WHEELS]
#   SOURCE       folder of the project
#   ENVIRONMENT  folder of the environment; made anew
#   WHEELS       folder of wheels, the only place that is then looked into; without it pip's index is asked
#   TORCH, TORCH_INDEX  as in torch.sh
#   PYTHON       the interpreter, default python3
set -eu
source=$1
environment=$2
wheels=${3:-}
# shellcheck source=packaging/torch.sh
. "$source/packaging/torch.sh"

rm -rf "$environment"
"${PYTHON:-python3}" -m venv "$environment"
set -- --quiet --no-cache-dir --disable-pip-version-check -c "$source/constraints.txt"
if [ -n "$wheels" ]; then
  # What pip is set up with on this machine may name an index; nothing here may ask one.
  PIP_CONFIG_FILE=/dev/null "$environment/bin/python" -m pip --isolated install "$@" --no-index --find-links "$wheels" \
    --only-binary :all: "$torch" 'pacs-apprentice[export]'
else
  [ -z "$index" ] || set -- "$@" --extra-index-url "$index"
  # Empty build arguments of an image must not hide the index that pip would take by itself.
  [ -n "${PIP_INDEX_URL:-}" ] || unset PIP_INDEX_URL
  [ -n "${PIP_EXTRA_INDEX_URL:-}" ] || unset PIP_EXTRA_INDEX_URL
  "$environment/bin/python" -m pip install "$@" "$torch" "${source}[export]"
fi
