"""The functions as Cloud Run services, and what calls them, as ``gcloud`` commands worked out from ``infra/functions.yaml``.

All run the same image, which is the whole repository: which function a service is, its environment says. THREADS is the
concurrency, or requests would queue inside an instance that the platform believes to have room.

A service's URL and Pub/Sub's own account hold the number of the project, which the script asks for once: ``NUMBER`` in a
word stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from infra.cloud.project import CALLERS, DEAD_LETTERS, Command, Place, email, member
from infra.local.catalogue import ROOT, Function
from shared.settings import Settings

NUMBER = "${number}"
AGENT = f"serviceAccount:service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com"
"""As whom Pub/Sub itself acts in the project."""

ACK_SECONDS = (10, 600)
PUSH_ATTEMPTS = 20
TASK_ATTEMPTS = 100
"""As often as the embedded bus and queue try; a test keeps them alike."""


def deploy(
    functions: Sequence[Function], place: Place, image: str, settings: Mapping[str, str], defaults: Mapping[str, str]
) -> Iterator[Command]:
    """Each function as a service; ``settings`` are added to those that a service has from before.

    ``defaults`` are for a service that is not there yet: what somebody has set or removed since is not put back.
    Instances that are kept running are asked for where a function needs some; elsewhere they stay as somebody has set them.
    Who may call a service is left as it is: a build may deploy, and not open what is closed.
    Raises ``ValueError`` for a setting with a ``|`` in it, which separates them here.
    """
    lacking = {name: value for name, value in defaults.items() if name not in settings}
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
        yield Command(
            (
                "run", "deploy", service(function), f"--image={image}", f"--region={place.region}",
                f"--service-account={email(function.identity, place)}", f"--concurrency={function.concurrency}",
                f"--timeout={function.timeout_seconds}", f"--memory={function.memory}", "--cpu=1", "--cpu-boost",
                *([f"--min-instances={function.min_instances}"] if function.min_instances else []),
                _environment(environment),
            ),
            when_new=_environment(lacking) if lacking else "",
        )  # fmt: skip


def connect(functions: Sequence[Function], place: Place, settings: Mapping[str, str]) -> Iterator[Command]:
    """Who may call the services, and what does: push subscriptions, the queue's target, the schedule.

    Raises ``ValueError`` for a period that Cloud Scheduler cannot keep, ``ConfigurationError`` for one that is no number.
    """
    if any(function.trigger[0] == "topic" for function in functions):
        yield from _agent(place)
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
            yield from _job(function, value, place, settings)


def service(function: Function) -> str:
    """The name of a function's service."""
    return f"brainstem-{function.name.replace('_', '-')}"


def url(function: Function, place: Place) -> str:
    """The address of a function's service, with ``NUMBER`` in it."""
    return f"https://{service(function)}-{NUMBER}.{place.region}.run.app"


def _environment(values: Mapping[str, str]) -> str:
    if wrong := [name for name, value in values.items() if "|" in value]:
        raise ValueError(f"{wrong[0]} may not hold a |.")
    return f"--update-env-vars=^|^{'|'.join(f'{name}={value}' for name, value in sorted(values.items()))}"


def _agent(place: Place) -> Iterator[Command]:
    """What Pub/Sub's own account needs: to make the tokens that pushes carry, and to publish dead letters.

    Google grants the first by itself only where Pub/Sub was enabled after 8 April 2021; elsewhere no push would arrive.
    """
    yield Command(
        (
            "iam", "service-accounts", "add-iam-policy-binding", email(CALLERS["topic"], place), f"--member={AGENT}",
            "--role=roles/iam.serviceAccountTokenCreator",
        )
    )  # fmt: skip
    yield Command(
        (
            "pubsub", "topics", "add-iam-policy-binding", DEAD_LETTERS, f"--member={AGENT}",
            "--role=roles/pubsub.publisher",
        )
    )  # fmt: skip


def _subscription(function: Function, topic: str, place: Place) -> Iterator[Command]:
    """A push subscription; taking a dead letter off it is a right that Pub/Sub's own account needs as any reader does."""
    deadline = min(ACK_SECONDS[1], max(ACK_SECONDS[0], function.timeout_seconds))
    changeable = (
        f"--push-endpoint={url(function, place)}{function.path}",
        f"--push-auth-service-account={email(CALLERS['topic'], place)}",
        f"--push-auth-token-audience={url(function, place)}",
        f"--ack-deadline={deadline}", "--expiration-period=never", "--min-retry-delay=1s", "--max-retry-delay=60s",
        f"--dead-letter-topic={DEAD_LETTERS}", f"--max-delivery-attempts={PUSH_ATTEMPTS}",
    )  # fmt: skip
    words = ("pubsub", "subscriptions", "create", function.name, f"--topic={topic}", "--enable-message-ordering")
    yield Command((*words, *changeable), may_exist=True)
    yield Command(("pubsub", "subscriptions", "update", function.name, *changeable))
    yield Command(
        (
            "pubsub", "subscriptions", "add-iam-policy-binding", function.name, f"--member={AGENT}",
            "--role=roles/pubsub.subscriber",
        )
    )  # fmt: skip


def _queue(function: Function, queue: str, place: Place) -> Command:
    """The queue knows host and caller; the functions enqueue paths.

    A task is deleted when both its attempts and its day are used up. With this backoff the attempts are over after some
    eight hours, so the day decides; unlimited attempts would never be. The tick rescues what is not done by then.
    """
    host = url(function, place).removeprefix("https://")
    return Command(
        (
            "tasks", "queues", "update", queue, f"--location={place.region}",
            f"--http-uri-override=scheme:https,host:{host},mode:ALWAYS",
            f"--http-oidc-service-account-email-override={email(CALLERS['queue'], place)}",
            f"--http-oidc-token-audience-override=https://{host}",
            f"--max-attempts={TASK_ATTEMPTS}", "--max-retry-duration=86400s", "--min-backoff=1s", "--max-backoff=300s",
            "--max-concurrent-dispatches=1000", "--max-dispatches-per-second=500",
        )
    )  # fmt: skip


def _job(function: Function, setting: str, place: Place, settings: Mapping[str, str]) -> Iterator[Command]:
    """A job; one that is there keeps its schedule, unless the setting is given."""
    schedule = f"--schedule={_schedule(setting, settings)}"
    for verb in ("create", "update"):
        yield Command(
            (
                "scheduler", "jobs", verb, "http", function.name, f"--location={place.region}",
                *((schedule,) if verb == "create" or setting in settings else ()),
                f"--uri={url(function, place)}{function.path}", "--http-method=POST",
                f"--oidc-service-account-email={email(CALLERS['schedule'], place)}",
                f"--oidc-token-audience={url(function, place)}", f"--attempt-deadline={function.timeout_seconds}s",
            ),
            may_exist=verb == "create",
        )  # fmt: skip


def _schedule(setting: str, settings: Mapping[str, str]) -> str:
    """The period that a setting holds, as cron has it; cron starts anew with every hour, so a period has to divide it."""
    seconds = {"TICK_SECONDS": Settings.from_env(settings).tick_seconds}[setting]
    for minutes in range(1, 31):
        if 60 % minutes == 0 and seconds == 60 * minutes:
            return "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
    raise ValueError(
        f"{setting} must be 60 or other whole minutes that divide an hour: Cloud Scheduler keeps no others."
    )
