"""From an older schema to today's, a step a version. There is no step to version 1, the first.

To change the schema:

1. Change `journal/schema.py`.
2. Add a module here, `vNNNN_what_it_does`, with `upgrade(op)`, and its name to the end of `STEPS`. NNNN is the version
   that it leads to; where two branches took the same number, the one that is merged later takes the next.
   A step says what it makes in words of its own, never by `schema`, which goes on changing; types and rules of columns
   come from `columns`. `op` is Alembic's: `op.create_table("locks", …, sqlite_strict=True)` for a new table, and
   `tables.rebuild(op, <the table as it is to be>)` for a change of one. What old rows cannot know is NULL.
3. The tests start from a file of version 1 and compare the result with a new file, rule by rule. Where a step fills
   columns, add what old rows must be.

A file is copied before its first step, and all steps are one transaction. Nothing of this is loaded for a file of
today's version: Alembic would cost every start time and memory.
"""

STEPS = ("v0002_lots", "v0003_risk", "v0004_protection", "v0005_cash", "v0006_gateway")
"""The steps in order; the first leads from version 1 to version 2."""
