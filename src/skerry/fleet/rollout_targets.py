"""The application that a rollout of configurations makes: a copy, with other configurations in their place. Pure.

So a configuration, or the code of functions, comes to nodes as an application does, and goes back as one.
"""

from skerry.api.baetyl_applications import Application
from skerry.api.baetyl_rollouts import ROLLOUT, Rollout
from skerry.api.model import ObjectMeta, OwnerReference


def made_target(rollout: Rollout, application: Application) -> Application:
    """Return the application that nodes of another one are brought to; it goes when the rollout does.

    Args:
        rollout: says what stands in for what.
        application: what its nodes run now, as it is stored.
    """
    spec, by = application.spec.model_copy(deep=True), _replaced(rollout)
    spec.selector, spec.system = "", False
    for volume in spec.volumes or ():
        if volume.config is not None:
            volume.config.name = by.get(volume.config.name, volume.config.name)
    for service in spec.services or ():
        if service.function_config is not None:
            service.function_config.name = by.get(service.function_config.name, service.function_config.name)
    owner = OwnerReference(api_version=ROLLOUT.api_version, kind=ROLLOUT.kind, name=rollout.name, uid=rollout.uid)
    metadata = ObjectMeta(
        name=rollout.name,
        namespace=rollout.namespace,
        labels=application.metadata.labels,
        owner_references=[owner],
    )
    return Application(metadata=metadata, spec=spec)


def is_made_by(rollout: Rollout, application: Application) -> bool:
    """Tell whether a rollout made an application, or somebody else has its name."""
    return any(owner.uid == rollout.uid for owner in application.metadata.owner_references or ())


def _replaced(rollout: Rollout) -> dict[str, str]:
    return {each.configuration: each.by for each in rollout.spec.replaces or ()}
