#!/usr/bin/env bash
# Brainstem on Google Cloud, without Terraform: project, image, functions and what calls them. Each step may be repeated.
#
#   infra/deploy.sh PROJECT REGION [IMAGE]
#
# IMAGE is one that exists, by digest; without it one is built from this checkout. Settings (docs/settings.md) come from the
# environment, GOOGLE_CLIENT_SECRET included. PYTHON names the Python that has requirements.txt installed.
set -euo pipefail

fail() { printf 'deploy.sh: %s\n' "$1" >&2; exit 2; }

project=${1:-${GOOGLE_CLOUD_PROJECT:-}}
region=${2:-${CLOUD_LOCATION:-}}
image=${3:-}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python}

[[ -n $project ]] || fail "Name the Google Cloud project: infra/deploy.sh PROJECT REGION."
[[ -n $region ]] || fail "Name the region, such as europe-west1: infra/deploy.sh PROJECT REGION."
command -v "$python" >/dev/null || fail "There is no $python: run make once, or name a Python with PYTHON=path."
command -v gcloud >/dev/null || fail "There is no gcloud: install the Google Cloud CLI, then run gcloud auth login."

export CLOUDSDK_CORE_DISABLE_PROMPTS=1 CLOUDSDK_CORE_PROJECT=$project PYTHONPATH=$PWD
account=$(gcloud auth list --filter=status:ACTIVE --format='value(account)') ||
  fail "gcloud does not say which accounts it knows."
[[ -n $account ]] || fail "gcloud knows no account: run gcloud auth login."
if ! said=$(gcloud projects describe "$project" 2>&1 >/dev/null); then
  grep -qE 'NOT_FOUND|PERMISSION_DENIED|does not have permission' <<<"$said" || { printf '%s\n' "$said" >&2; exit 1; }
  fail "There is no project $project that this account may see: create it, link a billing account, and try again."
fi

part() { "$python" -m infra.cloud.script --project "$project" --region "$region" "$@"; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo "The project: services, databases, accounts, topics, the queue, secrets" >&2
part >"$scratch/project.bash"
bash "$scratch/project.bash"

if [[ -z $image ]]; then
  name="$region-docker.pkg.dev/$project/brainstem/brainstem"
  tag="$name:$(git rev-parse --short=7 HEAD 2>/dev/null || date -u +%Y%m%d%H%M%S)"
  echo "The image $tag: a few minutes" >&2
  "$python" -m infra.cloud.image "$tag" >"$scratch/build.json"
  gcloud builds submit . --config="$scratch/build.json" --region="$region" --suppress-logs >&2
  digest=$(gcloud artifacts docker images describe "$tag" --format='value(image_summary.digest)')
  [[ $digest == sha256:* ]] || fail "The image $tag has not been built."
  image="$name@$digest"
fi

echo "The functions: $image" >&2
part --image "$image" --part services >"$scratch/services.bash"
bash "$scratch/services.bash"

echo "What calls them" >&2
part --image "$image" --part triggers >"$scratch/triggers.bash"
bash "$scratch/triggers.bash"

echo "Done. The API is at:" >&2
gcloud run services describe brainstem-api --region="$region" --format='value(status.url)'
