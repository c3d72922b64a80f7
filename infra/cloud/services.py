"""The functions as Cloud Run services, and what calls them, as ``gcloud`` commands worked out from ``infra/functions.yaml``.

All run the same image, which is the whole repository: which function a service is, its environment says. THREADS is the
concurrency, or requests would queue inside an instance that the platform believes to have room.

A service's URL holds the number of the project, which the script asks for once: ``NUMBER`` in a word stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from infra.cloud.project import CALLERS, Command, Place, email, member
from infra.local.catalogue import ROOT, Function

NUMBER = "${number}"
ACK_SECONDS = (10, 600)


def deploy(functions: Sequence[Function], place: Place, image: str, settings: Mapping[str, str]) -> Iterator[Command]:
    """Each function as a service; ``settings`` are added to those that a service has from before.

    Who may call a service is left as it is: a build may deploy, and not open what is closed.
    Raises ``ValueError`` for a setting with a ``|`` in it, which separates them here.
    """
    for function in functions:
        environment = {
            **settings,
            "BACKEND": "cloud",
            "GOOGLE_CLOUD_PROJECT": place.project,
            "CLOUD_LOCATION": place.region,
            "FUNCTION_SOURCE": str(function.source.relative_to(ROOT)),
            "FUNCTION_TARGET": function.entry_point,
            "PYTHONPATH": "/workspace",
            "THREADS": str(function.concurrency),
        }
        if wrong := [name for name, value in environment.items() if "|" in value]:
            raise ValueError(f"{wrong[0]} may not hold a |.")
        yield Command(
            (
                "run", "deploy", service(function), f"--image={image}", f"--region={place.region}",
                f"--service-account={email(function.identity, place)}", f"--concurrency={function.concurrency}",
                f"--timeout={function.timeout_seconds}", f"--memory={function.memory}", "--cpu=1", "--cpu-boost",
                f"--update-env-vars=^|^{'|'.join(f'{name}={value}' for name, value in sorted(environment.items()))}",
            )
        )  # fmt: skip


def connect(functions: Sequence[Function], place: Place) -> Iterator[Command]:
    """Who may call the services, and what does: push subscriptions, the queue's target, the schedule."""
    for function in functions:
        kind, value = function.trigger
        caller = "allUsers" if function.public else member(CALLERS[kind], place)
        yield Command(
            (
                "run", "services", "add-iam-policy-binding", service(function), f"--region={place.region}",
                f"--member={caller}", "--role=roles/run.invoker",
            )
        )  # fmt: skip
        if kind == "topic":
            yield from _subscription(function, value, place)
        elif kind == "queue":
            yield _queue(function, value, place)
        elif kind == "schedule":
            yield from _job(function, place)


def service(function: Function) -> str:
    """The name of a function's service."""
    return f"brainstem-{function.name.replace('_', '-')}"


def url(function: Function, place: Place) -> str:
    """The address of a function's service, with ``NUMBER`` in it."""
    return f"https://{service(function)}-{NUMBER}.{place.region}.run.app"


def _subscription(function: Function, topic: str, place: Place) -> Iterator[Command]:
    deadline = min(ACK_SECONDS[1], max(ACK_SECONDS[0], function.timeout_seconds))
    changeable = (
        f"--push-endpoint={url(function, place)}{function.path}",
        f"--push-auth-service-account={email(CALLERS['topic'], place)}",
        f"--push-auth-token-audience={url(function, place)}",
        f"--ack-deadline={deadline}", "--expiration-period=never", "--min-retry-delay=1s", "--max-retry-delay=60s",
    )  # fmt: skip
    words = ("pubsub", "subscriptions", "create", function.name, f"--topic={topic}", "--enable-message-ordering")
    yield Command((*words, *changeable), may_exist=True)
    yield Command(("pubsub", "subscriptions", "update", function.name, *changeable))


def _queue(function: Function, queue: str, place: Place) -> Command:
    """The queue knows host and caller; the functions enqueue paths. It tries for a day, as long as a name is taken."""
    host = url(function, place).removeprefix("https://")
    return Command(
        (
            "tasks", "queues", "update", queue, f"--location={place.region}",
            f"--http-uri-override=scheme:https,host:{host},mode:ALWAYS",
            f"--http-oidc-service-account-email-override={email(CALLERS['queue'], place)}",
            f"--http-oidc-token-audience-override=https://{host}",
            "--max-attempts=-1", "--max-retry-duration=86400s", "--min-backoff=1s", "--max-backoff=300s",
            "--max-concurrent-dispatches=1000", "--max-dispatches-per-second=500",
        )
    )  # fmt: skip


def _job(function: Function, place: Place) -> Iterator[Command]:
    for verb in ("create", "update"):
        yield Command(
            (
                "scheduler", "jobs", verb, "http", function.name, f"--location={place.region}", "--schedule=* * * * *",
                f"--uri={url(function, place)}{function.path}", "--http-method=POST",
                f"--oidc-service-account-email={email(CALLERS['schedule'], place)}",
                f"--oidc-token-audience={url(function, place)}", f"--attempt-deadline={function.timeout_seconds}s",
            ),
            may_exist=verb == "create",
        )  # fmt: skip
