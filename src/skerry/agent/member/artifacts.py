"""Code for this node's Gateways: from its keep, and where that lacks it from the control plane, by digest."""

from pathlib import Path

from skerry.agent.member.link import CloudLink
from skerry.artifacts.digest import Digest
from skerry.artifacts.errors import ArtifactCorruptError, ArtifactMissingError
from skerry.artifacts.folder import FolderKeep
from skerry.kit.tasks import SharedCalls

ARTIFACTS_PATH = "/v1/slice/artifacts"
#: The control plane may have to bring it from elsewhere first.
SILENCE_SECONDS_MAX = 60.0


class NodeArtifacts:
    """`agent.functions.ArtifactSource` of a node that has joined a fleet.

    Args:
        keep: what is here already; bounded, and verified.
        link: to the control plane.
    """

    def __init__(self, keep: FolderKeep, link: CloudLink) -> None:
        self._keep = keep
        self._link = link
        self._fetching = SharedCalls[Digest, Path]("node-artifacts")

    async def fetch(self, digest: str) -> Path:
        """Return the path of an artifact on this node, complete and checked.

        Raises:
            LinkError: it is not here, and the control plane can't be reached; RefusedError: it does not give it.
            KeepFullError: there is no room for it.
            ArtifactCorruptError: what came is not it.
        """
        wanted = Digest.parse(digest)
        return await self._fetching.run(wanted, lambda: self._fetch(wanted))

    async def _fetch(self, digest: Digest) -> Path:
        try:
            return await self._keep.verify(digest)
        except (ArtifactMissingError, ArtifactCorruptError):
            path = f"{ARTIFACTS_PATH}/{digest}"
            async with self._link.opened("GET", path, silence_seconds_max=SILENCE_SECONDS_MAX) as pieces:
                return await self._keep.take(digest, pieces)
