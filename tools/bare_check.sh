#!/usr/bin/env bash
# The first hour of a newcomer: a clone in an empty folder, a clean HOME, no cache of pip; the README's commands, the
# documentation, and each recipe copied out of the README. Prints a line for each step; fails if one fails.
#   tools/bare_check.sh [REPOSITORY]     KEEP=1 keeps the folder, SKIP='make test' leaves out a command
set -uo pipefail
repository=${1:-$(cd "$(dirname "$0")/.." && pwd)}
folder=$(mktemp -d "${TMPDIR:-/tmp}/bare.XXXXXX")
[ -n "${KEEP:-}" ] && echo "in $folder" || trap 'rm -rf "$folder"' EXIT
mkdir "$folder/home" "$folder/tmp" "$folder/desk"
failures=0

# Only settings for programs and the network are inherited.
clean=(HOME="$folder/home" TMPDIR="$folder/tmp" PIP_NO_CACHE_DIR=1)
while IFS= read -r name; do
  case $name in
    PIP_NO_CACHE_DIR | PIP_CACHE_DIR | PIP_TARGET | PIP_USER | PIP_REQUIRE_VIRTUALENV) ;;
    PATH | LANG | LC_ALL | TERM | PIP_* | *_proxy | *_PROXY | *CA_BUNDLE | *CA_CERTS | SSL_CERT_* | GIT_SSL_*)
      clean+=("$name=${!name}") ;;
  esac
done < <(compgen -e)

# step NAME FOLDER COMMAND...: run, and print the time and whether it succeeded
step() {
  local name=$1 where=$2 start=$SECONDS log="$folder/tmp/step.log"
  shift 2
  if (cd "$where" && env -i "${clean[@]}" "$@") </dev/null >"$log" 2>&1; then
    printf '%-44s %5d s  OK      %s\n' "$name" $((SECONDS - start)) "$(grep -E '^(=+ )?[0-9]+ passed' "$log" | tail -1)"
  else
    printf '%-44s %5d s  FAILED\n' "$name" $((SECONDS - start))
    tail -60 "$log" | sed 's/^/    /'
    failures=$((failures + 1))
  fi
}

clone="$folder/desk/xarray-nd2"
step "git clone" "$folder/desk" git clone --quiet "$repository" "$clone"
[ -d "$clone" ] || exit 1

# The README's commands, as printed; a comment may follow each.
while IFS= read -r command; do
  [ "$command" = "${SKIP:-}" ] || step "$command" "$clone" bash -c "$command"
done < <(sed -n '/^```\(sh\|console\)$/,/^```$/{/^```/d;s/^\$ //;s/ *#.*//;/./p}' "$clone/README.md")
step "make docs" "$clone" make docs

# The README's install lines, each in a separate environment; the address of the project is replaced by the clone's.
recipes="$folder/desk/recipes"
number=0
while IFS= read -r command; do
  number=$((number + 1))
  environment="$folder/desk/environment-$number"
  # Debian leaves ensurepip out: the pip of `make` fills the environment
  step "python -m venv" "$folder/desk" bash -c "python3 -m venv '$environment' 2>/dev/null ||
    { python3 -m venv --clear --without-pip '$environment' && python3 -m pip --python '$environment/bin/python' install -q pip; }"
  command=${command//https:\/\/github.com\/xarray-nd2\/xarray-nd2/file:\/\/localhost$clone}
  step "$command" "$clone" env PATH="$environment/bin:$PATH" bash -c "$command"
done < <(sed -n '/^```bash$/,/^```$/{/^```/d;/^pip install [^-]/p}' "$clone/README.md")

# The README's recipes, each alone and twice, in the environment of the first install line.
mkdir "$recipes"
(cd "$recipes" && env -i "${clean[@]}" "$clone/.venv/bin/python" "$clone/tools/run_recipes.py" "$clone/README.md" \
  --python "$folder/desk/environment-1/bin/python" --times 2) </dev/null || failures=$((failures + 1))

printf '%-44s %5d s  %s\n' "all" "$SECONDS" "$([ "$failures" = 0 ] && echo OK || echo "FAILED: $failures")"
[ "$failures" = 0 ]
