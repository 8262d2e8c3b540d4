"""What a step of a schema is, for every driver on SQL.

A migration has two parts. *Pre* only adds (tables, columns, indexes), so that the version before still works on the
result; *post* takes away what no running version uses any more. A table `schema_migrations` records each applied part;
a part is applied in one transaction with its record.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    Attributes:
        version: rising by one from 1.
        pre: statements that only add.
        post: statements that remove.
    """

    version: int
    title: str
    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()
