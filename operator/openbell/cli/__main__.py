"""`python -m openbell.cli`, for where the program itself is not on the path."""

from openbell.cli import main

main()
