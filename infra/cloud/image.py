"""``python -m infra.cloud.image TAG``: the build step of ``cloudbuild.yaml`` alone, as a configuration of Cloud Build.

For a first deployment from a laptop, where the services to deploy to are not there yet and ``make check`` has run.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import yaml

from infra.local.catalogue import ROOT

CLOUD_BUILD = ROOT / "cloudbuild.yaml"
TAG = "${_IMAGE}:$SHORT_SHA"


def build_alone(tag: str) -> dict[str, Any]:
    """The configuration that builds the image and publishes it under ``tag``."""
    whole = yaml.safe_load(CLOUD_BUILD.read_text(encoding="utf-8"))
    [step] = [step for step in whole["steps"] if step["id"] == "build"]
    del step["waitFor"]
    step["args"] = [tag if word == TAG else word for word in step["args"]]
    return {"steps": [step], **{name: whole[name] for name in ("serviceAccount", "timeout", "options")}}


if __name__ == "__main__":
    print(json.dumps(build_alone(sys.argv[1])))
