"""``cloudbuild.yaml`` tests, builds once, and leaves to infra/functions.yaml which functions there are."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from infra.cloud import image, script
from infra.cloud.services import service
from infra.local.catalogue import ROOT, load
from shared.settings import Settings

TEXT = (ROOT / "cloudbuild.yaml").read_text(encoding="utf-8")
BUILD: dict[str, Any] = yaml.safe_load(TEXT)
STEPS: dict[str, dict[str, Any]] = {step["id"]: step for step in BUILD["steps"]}
SYNTAX = {"api"}
"""The buildpack wants some function; what a service is, its environment says."""


def test_each_step_waits_for_the_one_before() -> None:
    names = list(STEPS)
    assert names == ["test", "build", "digest", "list", "deploy"]
    assert [STEPS[name].get("waitFor") for name in names] == [None, *([name] for name in names[:-1])]


def test_it_tests_without_emulators_before_anything_is_built() -> None:
    assert "EMULATORS=off" in STEPS["test"]["env"]
    assert "make check test" in STEPS["test"]["script"]


def test_one_image_is_built_and_deployed_by_its_digest() -> None:
    assert [name for name, step in STEPS.items() if "pack" in step["name"]] == ["build"]
    assert image.TAG in STEPS["build"]["args"]
    assert '--image "$IMAGE@$(cat /made/digest)"' in STEPS["list"]["script"]


def test_no_function_is_named_by_hand() -> None:
    for function in load():
        if function.name not in SYNTAX:
            named = re.findall(rf"\b{function.name}\b|{service(function)}|{function.identity}", TEXT)
            assert not named, function.name
    assert service(load()[0]) not in TEXT


def test_what_it_runs_deploys_every_function_and_only_code(capsys: pytest.CaptureFixture[str]) -> None:
    line = STEPS["list"]["script"].replace("\\\n", " ").split("python -m infra.cloud.script", 1)[1].partition(">")[0]
    given = {
        "$PROJECT": "brainstem-prod",
        "$REGION": "europe-west1",
        "$IMAGE@$(cat": "p/b@sha256:1",
        "/made/digest)": "",
    }
    words = [given.get(word.strip('"'), word) for word in line.split()]
    assert script.main([word for word in words if word], {"JWT_ISSUER": "canary"}) == 0
    said = capsys.readouterr().out
    ran = [text for text in said.splitlines() if text.startswith(("run '", "make '"))]
    assert [text.split("'")[1] for text in ran] == [f"run deploy {service(function)}" for function in load()]
    assert "canary" not in said
    kept = {"BACKEND", "GOOGLE_CLOUD_PROJECT", "CLOUD_LOCATION"}
    set_ = {str(spec.metadata["env"]) for spec in Settings.__dataclass_fields__.values()} - kept
    assert not {name for name in set_ if f"{name}=" in said}


def test_every_substitution_is_built_in_or_has_a_value() -> None:
    own = set(re.findall(r"\$\{?(_[A-Z]+)", TEXT))
    assert own == set(BUILD["substitutions"])
    assert BUILD["options"]["dynamicSubstitutions"]


def test_a_first_deployment_builds_in_the_same_way() -> None:
    alone = image.build_alone("host/p/b:tag")
    assert [step["id"] for step in alone["steps"]] == ["build"]
    there = [word if word != image.TAG else "host/p/b:tag" for word in STEPS["build"]["args"]]
    assert alone["steps"][0]["args"] == there
    assert alone["serviceAccount"] == BUILD["serviceAccount"]
    assert "substitutions" not in alone
    assert "_" not in "".join(re.findall(r"\$\{?_", str(alone)))
