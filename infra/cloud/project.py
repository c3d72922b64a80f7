"""What a Google Cloud project needs before the first deployment, as ``gcloud`` commands.

Each can be repeated: what exists is left as it is (``may_exist``), and grants of roles add up to the same. Least privilege:
one service account per function, one per kind of caller, and roles on the single database, topic, queue, secret or account.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from infra.cloud.indexes import COLLECTIONS, KEY_COLLECTIONS, configuration
from infra.local.catalogue import Function, topics
from shared.queries import SHAPES

GMAIL_PUBLISHER = "serviceAccount:gmail-api-push@system.gserviceaccount.com"
BUILDER = "brainstem-build"
REPOSITORY = "brainstem"
DEAD_LETTERS = "dead-letters"
"""The topic of what was given up, and the subscription that keeps it for people."""

KEPT = "30d"
"""How long a topic holds what was published, delivered or not, so that a subscription can go back to it."""

CALLERS = {"topic": "brainstem-from-pubsub", "queue": "brainstem-from-tasks", "schedule": "brainstem-from-scheduler"}
"""As whom each kind of trigger calls."""

SERVICES = (
    "run", "cloudbuild", "artifactregistry", "firestore", "pubsub", "cloudtasks", "cloudscheduler", "secretmanager", "iam",
    "gmail",
)  # fmt: skip

_Words: TypeAlias = Sequence[str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where it all goes; ``region`` holds all that the product keeps. Logs and a build's sources are where Google puts them."""

    project: str
    region: str


@dataclass(frozen=True, slots=True)
class Command:
    """One call of gcloud; ``may_exist``: failing because the thing is there already is success.

    ``when_new`` is a word more for the service that ``words[2]`` names, unless it is there already.
    """

    words: tuple[str, ...]
    may_exist: bool = False
    when_new: str = ""


def prepare(functions: Sequence[Function], place: Place) -> Iterator[Command]:
    """Everything but the functions themselves and what calls them."""
    yield _do("services", "enable", *(f"{name}.googleapis.com" for name in SERVICES))
    yield _make("artifacts", "repositories", "create", REPOSITORY, "--repository-format=docker", _in(place))
    yield from _databases(place)
    yield from _identities(functions, place)
    yield from _builder(functions, place)
    yield from _topics(functions, place)
    yield from _queues(functions, place)
    yield from _secrets(functions, place)


def member(identity: str, place: Place) -> str:
    """A service account of the project, as policies name it."""
    return f"serviceAccount:{email(identity, place)}"


def email(identity: str, place: Place) -> str:
    """The address of a service account of the project."""
    return f"{identity}@{place.project}.iam.gserviceaccount.com"


def _databases(place: Place) -> Iterator[Command]:
    """The two databases and their indexes, which are built side by side; the script waits for all of them at its end."""
    for name in ("(default)", "keys"):
        yield _make(
            "firestore", "databases", "create", f"--database={name}", f"--location={place.region}", "--type=firestore-native"
        )  # fmt: skip
    for database, content in (
        ("(default)", configuration(SHAPES, COLLECTIONS)),
        ("keys", configuration((), KEY_COLLECTIONS)),
    ):
        for index in content["indexes"]:
            fields = [f"--field-config=field-path={field['fieldPath']},order=ascending" for field in index["fields"]]
            yield _make(
                "firestore", "indexes", "composite", "create", f"--database={database}",
                f"--collection-group={index['collectionGroup']}", f"--query-scope={_scope(index)}", *fields, "--async",
            )  # fmt: skip
        for override in content["fieldOverrides"]:
            wanted = [f"--index=order=ascending,query-scope={_scope(index)}" for index in override["indexes"]]
            yield _do(
                "firestore", "indexes", "fields", "update", override["fieldPath"], f"--database={database}",
                f"--collection-group={override['collectionGroup']}", *(wanted or ["--disable-indexes"]), "--async",
            )  # fmt: skip


def _identities(functions: Sequence[Function], place: Place) -> Iterator[Command]:
    for identity in [*(function.identity for function in functions), *CALLERS.values(), BUILDER]:
        yield _make("iam", "service-accounts", "create", identity)
    for function in functions:
        for database in ("(default)", *(("keys",) if function.grants != "none" else ())):
            name = f"projects/{place.project}/databases/{database}"
            title = "documents" if database == "(default)" else database
            condition = f'expression=resource.name=="{name}",title={title}'
            yield _may(place, function.identity, "roles/datastore.user", condition)


def _builder(functions: Sequence[Function], place: Place) -> Iterator[Command]:
    """What ``cloudbuild.yaml`` runs as: it may change services and their image, but not who may call them."""
    who = member(BUILDER, place)
    for role in ("roles/logging.logWriter", "roles/storage.objectViewer", "roles/run.developer"):
        yield _may(place, BUILDER, role)
    yield _grant(("artifacts", "repositories"), REPOSITORY, who, "roles/artifactregistry.writer", _in(place))
    for function in functions:
        account = email(function.identity, place)
        yield _grant(("iam", "service-accounts"), account, who, "roles/iam.serviceAccountUser")


def _topics(functions: Sequence[Function], place: Place) -> Iterator[Command]:
    """The topics, whose messages stay in the region whoever publishes from wherever, and one for dead letters."""
    where = f"--message-storage-policy-allowed-regions={place.region}"
    for topic in topics(functions):
        yield _make("pubsub", "topics", "create", topic, f"--message-retention-duration={KEPT}", where)
    yield _make("pubsub", "topics", "create", DEAD_LETTERS, where)
    yield _make(
        "pubsub", "subscriptions", "create", DEAD_LETTERS, f"--topic={DEAD_LETTERS}", "--expiration-period=never",
        f"--message-retention-duration={KEPT}",
    )  # fmt: skip
    for function in functions:
        for topic in function.publishes:
            yield _grant(("pubsub", "topics"), topic, member(function.identity, place), "roles/pubsub.publisher")
    if "gmail" in topics(functions):
        yield _grant(("pubsub", "topics"), "gmail", GMAIL_PUBLISHER, "roles/pubsub.publisher")


def _queues(functions: Sequence[Function], place: Place) -> Iterator[Command]:
    """The queues; whoever enqueues may also look a task up, which is how a spent name is told from a waiting one."""
    for function in functions:
        kind, queue = function.trigger
        if kind != "queue":
            continue
        yield _make("tasks", "queues", "create", queue, _in(place))
        for other in functions:
            for role in ("roles/cloudtasks.enqueuer", "roles/cloudtasks.viewer"):
                yield _grant(("tasks", "queues"), queue, member(other.identity, place), role, _in(place))


def _secrets(functions: Sequence[Function], place: Place) -> Iterator[Command]:
    for name in sorted({secret for function in functions for secret in function.secrets}):
        yield _make("secrets", "create", name, "--replication-policy=user-managed", f"--locations={place.region}")
        for function in functions:
            if name in function.secrets:
                yield _grant(("secrets",), name, member(function.identity, place), "roles/secretmanager.secretAccessor")


def _may(place: Place, identity: str, role: str, condition: str = "None") -> Command:
    return Command(
        (
            "projects", "add-iam-policy-binding", place.project, f"--member={member(identity, place)}", f"--role={role}",
            f"--condition={condition}",
        )
    )  # fmt: skip


def _grant(what: _Words, name: str, who: str, role: str, *more: str) -> Command:
    return Command((*what, "add-iam-policy-binding", name, f"--member={who}", f"--role={role}", *more))


def _scope(index: dict[str, str]) -> str:
    return index["queryScope"].lower().replace("_", "-")


def _in(place: Place) -> str:
    return f"--location={place.region}"


def _do(*words: str) -> Command:
    return Command(words)


def _make(*words: str) -> Command:
    return Command(words, may_exist=True)
