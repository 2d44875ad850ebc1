"""Property tests have no deadline: what they check is the answer, and a loaded machine is no fault."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("openbell", deadline=None)
settings.load_profile("openbell")
