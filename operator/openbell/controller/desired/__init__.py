"""The objects that a scheduler should have, as pure functions of its spec. Golden files hold what they give."""
