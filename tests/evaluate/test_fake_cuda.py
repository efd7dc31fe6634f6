"""Training steps on fake tensors of cuda:0, without a GPU and in a CPU build of PyTorch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent / "fake_cuda"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.skipif(torch.backends.cuda.is_built(), reason="a CUDA build has its own device")
def test_whole_steps_stay_on_the_device_and_never_wait_for_it(tmp_path):
    """Forward, backward, fused optimiser, augmentation and scoring, in fp32 and bf16."""
    root = Path(torch.__file__).parent
    library = tmp_path / "device.so"
    command = ["g++", "-std=c++20", "-O0", "-w", "-shared", "-fPIC", f"-I{root / 'include'}"]
    command += [str(HERE / "device.cpp"), "-o", str(library)]
    command += [f"-L{root / 'lib'}", "-lc10", "-ltorch_cpu"]
    subprocess.run(command, check=True, timeout=120)
    run = [sys.executable, "-W", "error", str(HERE / "steps.py"), str(library)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "all steps stayed on the device" in done.stdout
