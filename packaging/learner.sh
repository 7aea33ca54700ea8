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
set -- --quiet --no-cache-dir --disable-pip-version-check
if [ -n "$wheels" ]; then
  # What pip is set up with on this machine may name an index; nothing here may ask one.
  PIP_CONFIG_FILE=/dev/null "$environment/bin/python" -m pip --isolated install "$@" -c "$source/constraints.txt" --no-index \
    --find-links "$wheels" --only-binary :all: "$torch" 'pacs-apprentice[export]'
else
  # Empty build arguments of an image must not hide the index that pip would take by itself.
  [ -n "${PIP_INDEX_URL:-}" ] || unset PIP_INDEX_URL
  [ -n "${PIP_EXTRA_INDEX_URL:-}" ] || unset PIP_EXTRA_INDEX_URL
  # Every file has the hash that is on record, but for torch, of which each index has builds of its own: its version has to do.
  "$environment/bin/python" -m pip install "$@" --no-deps --require-hashes \
    -r "$source/requirements/node.txt" -r "$source/requirements/export.txt"
  "$environment/bin/python" -m pip install "$@" -c "$source/constraints.txt" ${index:+--extra-index-url "$index"} "$torch"
  "$environment/bin/python" -m pip install "$@" --no-deps --no-build-isolation "$source"
fi
