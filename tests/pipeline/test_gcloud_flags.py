"""Every command of a deployment is one that gcloud knows, flag by flag; asked of its own help, without a network."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.infra.commands import PROJECT, QUESTIONS, SERVICES, TRIGGERS, verb_of

ALL = [*PROJECT, *SERVICES, *TRIGGERS, *QUESTIONS]


def _help(words: tuple[str, ...], config: str) -> str:
    said = subprocess.run(
        ["gcloud", *words, "--help"], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": config, "CLOUDSDK_CONFIG": config,
             "CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1", "PAGER": "cat"},
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return re.sub(r"\x1b\[[0-9;]*m|.\x08", "", said.stdout)


FORMS = sorted({verb_of(command) for command in ALL})


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="there is no gcloud to ask")
@pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form))
def test_gcloud_knows_every_flag_that_a_command_has(form: tuple[str, ...], tmp_path: Path) -> None:
    said = _help(form, str(tmp_path))
    for command in ALL:
        if verb_of(command) == form:
            for word in command.words[len(form) :]:
                if word.startswith("--"):
                    name = word.partition("=")[0].removeprefix("--")
                    assert re.search(rf"--(\[no-\])?{name}\b", said), f"{shlex.join(form)} does not know {word}"
