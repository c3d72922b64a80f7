"""The commands of a deployment, as tests look at them."""

from __future__ import annotations

import re
import shlex

from infra.cloud.project import Command, Place, prepare
from infra.cloud.script import PARTS, decided, script
from infra.cloud.services import connect, deploy
from infra.local.catalogue import load

FUNCTIONS, PLACE, IMAGE = load(), Place("brainstem-prod", "europe-west1"), "europe-west1-docker.pkg.dev/p/b/b@sha256:1"
SETTINGS = {"JWT_ISSUER": "https://issuer.test", "OAUTH_RETURN_URLS": "https://a.test,https://b.test"}
PROJECT = list(prepare(FUNCTIONS, PLACE))
SERVICES = list(deploy(FUNCTIONS, PLACE, IMAGE, SETTINGS, decided(FUNCTIONS, PLACE)))
TRIGGERS = list(connect(FUNCTIONS, PLACE, SETTINGS))
WHOLE = script(FUNCTIONS, PLACE, PARTS, IMAGE, SETTINGS)
QUESTIONS = [Command(tuple(shlex.split(said))) for said in re.findall(r"(?m)=\$\(gcloud (.+)\)$", WHOLE)]
"""What the script asks before it decides."""

GROUPS = {
    "services", "artifacts", "repositories", "firestore", "databases", "indexes", "composite", "fields", "iam",
    "service-accounts", "projects", "pubsub", "topics", "subscriptions", "tasks", "queues", "secrets", "run",
    "scheduler", "jobs", "versions", "operations",
}  # fmt: skip
VERBS = {"enable", "create", "update", "deploy", "add-iam-policy-binding", "http", "list", "describe"}


def flag(command: Command, name: str) -> str:
    [value] = [word.partition("=")[2] for word in command.words if word.startswith(f"--{name}=")]
    return value


def verb_of(command: Command) -> tuple[str, ...]:
    """The words that name the command, without what it is about."""
    words = []
    for word in command.words:
        if word not in GROUPS | VERBS:
            break
        words.append(word)
        if word in VERBS and word != "create" and word != "update":
            break
        if word in ("create", "update") and words[:2] != ["scheduler", "jobs"]:
            break
    return tuple(words)
