"""Checks of what the network runs on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from learner.doctor.findings import Findings, Found, error, ok, warning
from learner.doctor.site import Site

_NVIDIA = Path("/proc/driver/nvidia/version")
_LEAST_GPU_GIB = 4.0


def pytorch(_site: Site) -> Findings:
    """PyTorch works, with the GPU where there is one: it adds two numbers there."""
    try:
        import torch  # noqa: PLC0415 - heavy
    except (ImportError, OSError) as fault:
        yield error(f"PyTorch cannot be loaded ({fault})", "Install the project's requirements again (`./run setup`).")
        return
    driver = _driver()
    if torch.cuda.is_available():
        yield _with_gpu(torch, driver)
    elif driver and torch.version.cuda is None:
        what = f"PyTorch {torch.__version__} is built for the CPU alone; the GPU that driver {driver} offers is not used"
        yield warning(what, "Install a build of PyTorch for CUDA that the driver supports (`nvidia-smi` names the newest).")
    elif driver:
        what = f"PyTorch {torch.__version__} wants CUDA {torch.version.cuda}, which driver {driver} does not offer"
        yield warning(what, "Update the driver, or install a build of PyTorch for the CUDA that `nvidia-smi` names.")
    else:
        yield ok(f"PyTorch {torch.__version__} on the CPU")


def _with_gpu(torch: Any, driver: str) -> Found:
    name = torch.cuda.get_device_name(0)
    what = f"PyTorch {torch.__version__} (CUDA {torch.version.cuda}) with {name}, driver {driver or 'unknown'}"
    try:
        free, total = (size / 2**30 for size in torch.cuda.mem_get_info(0))
        works = float((torch.ones(1, device="cuda") + 1).item()) == 2.0  # kernels for its architecture are there
    except RuntimeError as fault:
        reason = str(fault).partition("\n")[0]
        remedy = "Install a build of PyTorch for this GPU; or hide it from the node with CUDA_VISIBLE_DEVICES= ."
        return error(f"{what}: it does not compute ({reason})", remedy)
    if not works:
        return error(f"{what}: it computes wrongly", "Look at `nvidia-smi -q` for memory errors, and replace the card.")
    if free < _LEAST_GPU_GIB:
        return warning(f"{what}: {free:.1f} of {total:.0f} GiB are free", "End what else uses the GPU (`nvidia-smi`).")
    return ok(f"{what}, {free:.0f} of {total:.0f} GiB free")


def _driver() -> str:
    """Version of NVIDIA's driver on this machine; empty without one."""
    try:
        text = _NVIDIA.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"\b(\d{3}\.\d+(?:\.\d+)?)\b", text)
    return found[1] if found else "of unknown version"
