"""Opening a driver whose confidential values are sealed: the one entry point of this package."""

from dataclasses import dataclass

from skerry.kit.errors import StartError
from skerry.kit.logs import get_logger
from skerry.store.driver import Driver, RewritableDriver
from skerry.store.records import Write
from skerry.store.sealing.driver import IsConfidential, SealingDriver
from skerry.store.sealing.envelope import Sealer
from skerry.store.sealing.keys import KeyProvider
from skerry.store.sealing.resealing import Resealer

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A driver that seals, and what rotates its keys.

    Attributes:
        driver: for `open_log`.
        resealer: its `run` is to be kept running.
    """

    driver: Driver
    resealer: Resealer


async def open_sealed(driver: RewritableDriver, provider: KeyProvider, is_confidential: IsConfidential) -> Sealed:
    """Seal the values of confidential resources on their way into a driver; the first key is made here.

    Raises:
        StartError: something in there can't be decrypted.
    """
    sealer = Sealer(provider)
    resealer = Resealer(driver, provider, sealer, is_confidential)
    found = await resealer.census()
    if found.undecryptable_count:
        # Lists and watches of these kinds would fail, and with them every controller that needs one.
        raise StartError(
            f"{found.undecryptable_count} stored values can't be decrypted: restore the encryption keys, or run "
            "`skerry secrets discard`, which deletes the objects that are lost",
            detail="\n".join(found.undecryptable),
        )
    if not provider.known_keys():
        await provider.add()
    if found.values[""]:
        log.warning(
            "confidential values are stored in plain text: run `skerry secrets rotate`", values=found.values[""]
        )
    return Sealed(SealingDriver(driver, sealer, is_confidential), resealer)


async def discard_undecryptable(driver: RewritableDriver, provider: KeyProvider) -> list[str]:
    """Delete what can't be decrypted, its history too, and return the names; for a log that nobody has open."""
    resealer = Resealer(driver, provider, Sealer(provider), lambda _: False)
    lost = await resealer.undecryptable()
    for key, revision in lost:
        await driver.append(Write(key, None, revision))
    # Older states may be lost where the present one is not: without history, none of them is left.
    await driver.compact((await driver.bounds()).latest)
    return [str(key) for key, _ in lost]
