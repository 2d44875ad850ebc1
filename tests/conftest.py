"""Makes tests/fakes importable for every test below (pytest puts this folder on the path)."""
