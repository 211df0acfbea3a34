#!/usr/bin/env bash
# The golden stories, and a few seeds of the swarm: a first answer. scripts/sim plays thousands.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
tests/sim/pgheir-sim --stories "$top/tests/sim/stories" &&
    tests/sim/pgheir-sim --seeds "${PGHEIR_SIM_SEEDS:-40}" --quiet
