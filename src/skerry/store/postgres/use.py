"""Who uses a log in PostgreSQL: an advisory lock, shared by what writes, held alone by who moves a log.

It belongs to the session that writes, so a replica whose connection broke has to ask again before it writes again. Its
number is made of the table `state`, so that logs in schemas of one database have a lock each.
"""

from skerry.store.errors import Unavailable
from skerry.store.postgres.session import Connection
from skerry.store.queries import Query

#: "sker" as a number, in the upper half.
_NUMBER = f"({0x736B6572}::bigint << 32) + 'state'::regclass::oid::bigint"
SHARE = Query("share_use", f"SELECT pg_try_advisory_lock_shared({_NUMBER})")
TAKE = Query("take_use", f"SELECT pg_try_advisory_lock({_NUMBER})")


async def share(connection: Connection) -> None:
    """Share the use for as long as the connection lasts; raises Unavailable where somebody has it alone."""
    (shared,) = await connection.row(SHARE)
    if not shared:
        raise Unavailable("the database is being moved by a `skerry store` command: wait until that has ended")
