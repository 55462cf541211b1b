#!/bin/sh
# Worlds in which clients are cut off for longer than their term with unsaved work; every other one goes on offline.
exec "$top_builddir/tests/sim/nuage-sim" --apart --seeds "${SIM_SEEDS:-1-400}" --jobs "${SIM_JOBS:-2}" --tap
