"""``python -m infra.cloud.script``: the commands of a deployment, printed as a bash script for people without Terraform.

Nothing is run here. ``infra/deploy.sh`` runs all parts in turn; ``cloudbuild.yaml`` runs ``services`` alone, which changes
code and leaves settings, callers and permissions as they are.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from infra.cloud.project import Command, Place, prepare
from infra.cloud.services import NUMBER, connect, deploy, url
from infra.local.catalogue import Function, load
from shared.errors import ConfigurationError
from shared.settings import Settings

PARTS = ("project", "services", "triggers")
DECIDED = frozenset(
    {
        "BACKEND", "DATA_DIR", "GOOGLE_CLOUD_PROJECT", "CLOUD_LOCATION", "FIRESTORE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST",
        "TASKS_TARGET_URL", "GOOGLE_CLIENT_SECRET", "MICROSOFT_CLIENT_SECRET", "INVOKER_SECRET",
    }
)  # fmt: skip
"""Settings that nobody chooses in the cloud; the clients' secrets go to Secret Manager."""

_PREAMBLE = """\
#!/usr/bin/env bash
# Printed by `python -m infra.cloud.script`. Each step may be repeated.
set -euo pipefail
export CLOUDSDK_CORE_DISABLE_PROMPTS=1
export CLOUDSDK_CORE_PROJECT={project}
total={total}
step=0

say() {{ step=$((step + 1)); printf '[%d/%d] %s\\n' "$step" "$total" "$1" >&2; }}

# run: any failure ends the script. make: that the thing exists already is success.
# when_new: a word for a service that is not there yet; one that is there keeps what it has.
run() {{ say "$1"; shift; gcloud "$@" >/dev/null; }}
make() {{
  local said
  say "$1"; shift
  if ! said=$(gcloud "$@" 2>&1 >/dev/null); then
    grep -qiE 'already[ _]exists' <<<"$said" || {{ printf '%s\\n' "$said" >&2; return 1; }}
    printf '        is there already\\n' >&2
  fi
}}
when_new() {{
  added=''
  case $'\\n'$services$'\\n' in *$'\\n'"$1"$'\\n'*) ;; *) added=$2 ;; esac
}}
"""
_NUMBER = """\
number=$(gcloud projects describe {project} --format='value(projectNumber)')
[[ $number =~ ^[0-9]+$ ]] || {{ printf 'gcloud did not say the number of the project.\\n' >&2; exit 1; }}
"""
_THERE = "services=$(gcloud run services list --region={region} --format='value(metadata.name)')\n"
_SECRETS = """\
# The vault's key is made once, here, and never leaves this pipe. Asking is a command of its own: where it fails, the script
# ends, for a second key would close every stored token.
versions=$(gcloud secrets versions list vault-key --limit=1 --format='value(name)')
if [[ -z $versions ]]; then
  head -c 32 /dev/urandom | gcloud secrets versions add vault-key --data-file=- >/dev/null
fi
# So is the key of tombstones, for good: with another one, people who were deleted would no longer be known.
versions=$(gcloud secrets versions list tombstone-key --limit=1 --format='value(name)')
if [[ -z $versions ]]; then
  head -c 32 /dev/urandom | gcloud secrets versions add tombstone-key --data-file=- >/dev/null
fi
# And that of links to archives: with another one, those that were given out lead nowhere.
versions=$(gcloud secrets versions list link-key --limit=1 --format='value(name)')
if [[ -z $versions ]]; then
  head -c 32 /dev/urandom | gcloud secrets versions add link-key --data-file=- >/dev/null
fi
# The first key of our own access tokens; later ones come from make rotate-keys.
versions=$(gcloud secrets versions list signing-keys --limit=1 --format='value(name)')
if [[ -z $versions ]]; then
  key=$(openssl genrsa 2048 2>/dev/null)
  printf '%s\n' "$key" | gcloud secrets versions add signing-keys --data-file=- >/dev/null
fi
if [[ -n ${GOOGLE_CLIENT_SECRET:-} ]]; then
  printf %s "$GOOGLE_CLIENT_SECRET" | gcloud secrets versions add google-client-secret --data-file=- >/dev/null
fi
if [[ -n ${MICROSOFT_CLIENT_SECRET:-} ]]; then
  printf %s "$MICROSOFT_CLIENT_SECRET" | gcloud secrets versions add microsoft-client-secret --data-file=- >/dev/null
fi
"""
LOOKS = 360
"""How often it is asked, ten seconds apart, whether indexes are built: an hour."""

_INDEXES = """\
# A query whose index is not built yet is refused. An index has a state; a field has only the operation that changes it.
for ((look = 1; ; look++)); do
  indexes=$(gcloud firestore indexes composite list --database='(default)' --format='value(state)')
  operations=$(gcloud firestore operations list --database='(default)' --limit=unlimited --format='value(metadata.state)')
  building=0
  for state in $indexes $operations; do
    case $state in
      CREATING | INITIALIZING | PROCESSING | FINALIZING) building=$((building + 1)) ;;
      NEEDS_REPAIR) printf 'An index could not be built: delete it, then run this again.\\n' >&2; exit 1 ;;
    esac
  done
  if [[ $building == 0 ]]; then break; fi
  if [[ $look -ge {looks} ]]; then
    printf 'Indexes are still being built. Run this again later: it goes on from here.\\n' >&2
    exit 1
  fi
  printf '        waiting for indexes: %d to go\\n' "$building" >&2
  sleep 10
done
"""


def script(
    functions: Sequence[Function], place: Place, parts: Sequence[str], image: str, settings: Mapping[str, str] | None
) -> str:
    """The whole script; ``image`` may be empty where the services are no part of it.

    Without ``settings`` those of the services stay as they are. Raises ``ValueError`` or ``ConfigurationError`` for settings
    that cannot be, whichever parts are wanted: what would stop the last part is said before the first one runs.
    """
    given = settings or {}
    services = list(deploy(functions, place, image, given, {} if settings is None else decided(functions, place)))
    triggers = list(connect(functions, place, given))
    blocks: list[tuple[str, list[Command], str]] = []
    if "project" in parts:
        blocks.append(("", list(prepare(functions, place)), _SECRETS + _INDEXES.format(looks=LOOKS)))
    if "services" in parts:
        there = _THERE.format(region=shlex.quote(place.region)) if any(command.when_new for command in services) else ""
        blocks.append((there, services, ""))
    if "triggers" in parts:
        blocks.append(("", triggers, ""))
    project = shlex.quote(place.project)
    text = _PREAMBLE.format(project=project, total=sum(len(commands) for _, commands, _ in blocks))
    lines = "".join(before + _lines(commands) + after for before, commands, after in blocks)
    return text + (_NUMBER.format(project=project) if NUMBER in lines else "") + lines


def chosen(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings that an environment holds."""
    known = {str(spec.metadata["env"]) for spec in fields(Settings)} - DECIDED
    return {name: environ[name] for name in sorted(known) if environ.get(name)}


def decided(functions: Sequence[Function], place: Place) -> dict[str, str]:
    """The settings that follow from the place, for a service that is deployed for the first time."""
    settings = {"GMAIL_TOPIC": f"projects/{place.project}/topics/gmail"}
    for function in functions:
        if function.name == "oauth":
            for provider in ("google", "microsoft"):
                settings[f"{provider.upper()}_REDIRECT_URI"] = f"{url(function, place)}/oauth/{provider}/callback"
        if function.name == "auth":
            settings["AUTH_ISSUER"] = url(function, place)
        if function.name == "graph_push":
            settings["GRAPH_NOTIFICATION_URL"] = f"{url(function, place)}{function.path}"
    return settings


def quoted(word: str) -> str:
    """A word as bash has to read it; ``NUMBER`` in it stays a variable."""
    return f'"{NUMBER}"'.join(shlex.quote(part) if part else "" for part in word.split(NUMBER)) or "''"


def _lines(commands: Iterable[Command]) -> str:
    return "".join(_line(command) for command in commands)


def _line(command: Command) -> str:
    verb = "make" if command.may_exist else "run"
    line = f"{verb} {quoted(_title(command))} {' '.join(quoted(word) for word in command.words)}"
    if not command.when_new:
        return f"{line}\n"
    return f'when_new {quoted(command.words[2])} {quoted(command.when_new)}\n{line} ${{added:+"$added"}}\n'


def _title(command: Command) -> str:
    """The command without its flags, and for a grant what is granted to whom."""
    said = [word for word in command.words if not word.startswith("--")]
    named = [
        word.partition("=")[2]
        for word in command.words
        if word.startswith(("--member=", "--role=", "--collection-group="))
    ]
    return " ".join(said + named)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the script for the arguments of a command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.cloud.script", description=__doc__.partition("\n")[0])
    parser.add_argument("--project", required=True)
    parser.add_argument("--region", required=True)
    parser.add_argument(
        "--image", default="", help="the image to deploy, by digest; without it only the project is made"
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="print these parts only")
    parser.add_argument("--keep-settings", action="store_true", help="leave the settings of the services as they are")
    given = parser.parse_args(arguments)
    if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", given.project):
        parser.error("--project must be the id of a project, such as brainstem-prod.")
    if not re.fullmatch(r"[a-z]+-[a-z]+[0-9]+", given.region):
        parser.error("--region must be a region, such as europe-west1.")
    parts = given.part or (PARTS if given.image else PARTS[:1])
    if "services" in parts and not given.image:
        parser.error("--part services needs --image.")
    functions, place = load(), Place(given.project, given.region)
    settings = None if given.keep_settings else chosen(environ)
    try:
        print(script(functions, place, parts, given.image, settings), end="")
    except (ValueError, ConfigurationError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
