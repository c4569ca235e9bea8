"""Hypothesis profiles: ``ci`` is the default, ``HYPOTHESIS_PROFILE=long`` is for a run by hand."""

import os

from hypothesis import HealthCheck, settings

# Deadlines and "too slow" measure the machine, not the code. A check that runs on every change
# gives the same answer for the same code, so it is derandomized; the long run is what explores.
_NO_CLOCKS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _NO_CLOCKS, derandomize=True)
settings.register_profile("long", _NO_CLOCKS, max_examples=50_000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
