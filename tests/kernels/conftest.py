"""Another build of the kernels to test, where ``ENGINE_KERNELS`` names the folder that it is in."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

if folder := os.environ.get("ENGINE_KERNELS"):
    (path,) = Path(folder).glob("_native.*.so")
    spec = importlib.util.spec_from_file_location("engine.kernels._native", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
