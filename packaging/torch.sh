# Sourced with $source: sets $torch, the requirement for the build that TORCH asks for, and $index, where else it is looked for.
#   TORCH        cpu, or cuda for the build of PyPI (gigabytes); default cpu
#   TORCH_INDEX  index that has torch for the CPU; empty where pip's own has it
# shellcheck shell=sh disable=SC2034,SC2154
pinned=$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' "$source/constraints.txt")
TORCH=${TORCH:-cpu}
case $TORCH in
  cpu) torch="torch==$pinned+cpu" index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu} ;;
  cuda) torch="torch==$pinned" index= ;;
  *) echo "torch.sh: TORCH is cpu or cuda, not '$TORCH'" >&2; exit 2 ;;
esac
