# The one front door. `./just` runs these without `just` being installed.

set shell := ["bash", "-euo", "pipefail", "-c"]

# List what can be done.
default:
    @just --list --unsorted

# Rehearse an incident: prints one URL that opens the page signed in.
drill *ARGS:
    cargo run --release -- drill {{ARGS}}

# Install what tests, browser and checks need (apt packages, npm packages, cargo tools).
setup:
    scripts/setup.sh

# The fast check: format, lints, words, unit tests of the Rust code. Under two minutes warm.
check: lint words
    scripts/stage.sh 1200 cargo nextest run --workspace --lib --bins --test-threads $((3 * $(nproc)))

# Format and lints.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Stages keep their output in target/stages. The browser runs alone: its virtual machine is judged by the
# processor time that it gets.
#
# Everything: installs what it needs, then runs every test there is.
test: setup
    scripts/stages.sh compile=3600 page=900 deny=600 words=300
    scripts/stages.sh rust=3600 services=3600
    scripts/stages.sh browser=3600
    @echo "all tests passed"

[private]
compile: lint build

[private]
services: schema images manifests

# With one set of features: a recipe that built a part of it alone would build that part again.
#
# All that the tests run, in one build.
build:
    cargo nextest run --workspace --no-run
    target/debug/examples/lab-images

# All Rust tests: real sshd, real claude CLI, real server; the page's types have not drifted.
rust: build && types-are-committed
    scripts/stage.sh 3600 cargo nextest run --workspace --test-threads $((3 * $(nproc)))

# The page's types come from the Rust types and have not drifted.
types: && types-are-committed
    cargo nextest run --workspace --lib -E 'test(export_bindings)'

[private]
types-are-committed:
    git diff --exit-code -- web/src/lib/api
    test -z "$(git ls-files --others --exclude-standard -- web/src/lib/api)"

# The interface against its own OpenAPI document: schemathesis, on a real server.
schema *ARGS: build
    scripts/stage.sh 900 scripts/schema.sh {{ARGS}}

# The page: types, logic, and that web/dist comes from web/src.
page:
    scripts/stage.sh 900 sh -c 'cd web && npm run check && npm test && npm run verify'

# Rebuild the page's committed assets.
web:
    cd web && npm ci && npm run build

# Chromium against the real drill and a real virtual machine; screenshots in tests/artifacts.
browser: build
    cd tests/browser && npm test

# Both container images, built without a daemon, at work together as in a pod.
images: build
    scripts/stage.sh 1200 scripts/image-test.sh

# The images for use, as archives in target/images. BASE=… takes another base than one made on the spot.
image:
    cargo build --release -p breakglass
    scripts/image.sh

# The Kubernetes manifests against the API's schemas, the systemd unit by systemd's own word.
manifests: build
    scripts/stage.sh 600 scripts/manifests.sh
    scripts/stage.sh 120 scripts/units.sh

# Spelling, and words that the project has retired: file:line:word, and what to write instead.
words:
    scripts/words.sh

# Licences, bans and sources of all dependencies.
deny:
    cargo deny check licenses bans sources

# Every figure of the README, as ratios in one run.
bench *ARGS:
    cargo build --release --workspace --bins
    cargo run --release -p breakglass-bench -- {{ARGS}}

# The gate as one static file, with its size; scripts/install-gate.sh puts it on a host.
gate:
    scripts/gate.sh

# What a release consists of, in target/dist: server, gate, SBOMs, images, checksums. IMAGES=no skips the images.
release:
    scripts/release.sh

# Fuzz the parsers at the boundary, SECONDS each.
fuzz SECONDS="60":
    scripts/fuzz.sh {{SECONDS}}

# Judge LINES lines by the rules, and have every shell run what is judged to read.
fuzz-shells LINES="10000000":
    scripts/fuzz.sh shells {{LINES}}
