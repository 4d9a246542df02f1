"""Rules about the image around the layers."""

from __future__ import annotations

import json
import re
from typing import Any

from wclayer.image.lint.findings import Findings
from wclayer.oci import ImageConfig

__all__ = ["look_at_config"]

_MAX_UPPER_LAYERS = 127
_LINUX_PATH = re.compile(r"(?:^|[:;])/(?:usr/|s?bin)").search
_LINUX_SHELL = re.compile(r"/(?:usr/)?bin/(?:ba|da|a|z)?sh").fullmatch


def look_at_config(config: ImageConfig, layers: int, findings: Findings) -> None:
    """Look at the configuration of an image of ``layers`` layers."""
    findings.layer = None
    add = findings.add
    platform = config.platform
    if platform.os != "windows":
        add("image-os", "", f"it says {platform.os or 'nothing'}")
    elif not platform.os_version:
        add("image-os-version", "", "no os.version")
    if layers > _MAX_UPPER_LAYERS + 1:
        add("image-too-many-layers", "", f"{layers} layers")
    inner: Any = json.loads(config.raw).get("config")
    if not isinstance(inner, dict):
        return
    for line in _texts(inner.get("Env")):
        name, _, value = line.partition("=")
        if name.upper() == "PATH" and _LINUX_PATH(value):
            add("image-linux-path", "", line)
    for key in ("Entrypoint", "Cmd", "Shell"):
        command = _texts(inner.get(key))
        if command and _LINUX_SHELL(command[0]):
            add("image-linux-shell", "", f"{key} is {json.dumps(command)}")


def _texts(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
