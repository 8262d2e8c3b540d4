"""Images and base images: create, list, get, replace, delete."""

from skerry.api.dispatch_images import (
    BASE_IMAGE,
    IMAGE,
    BaseImage,
    BaseImageSpec,
    Image,
    ImageSpec,
    RuntimeDependencies,
    SystemDependencies,
    SystemPackage,
)
from skerry.api.dispatch_v1 import DELETING, UPDATING, Tag
from skerry.api.errors import AlreadyExists, BadRequest, NotFound
from skerry.api.model import ObjectMeta
from skerry.server.dispatch.bodies import TagBody, check_name
from skerry.server.dispatch.door import Asked, Operation
from skerry.server.dispatch.image_bodies import BaseImageBody, ImageBody, base_image_json, image_json
from skerry.server.dispatch.selecting import has_application, wanted_applications
from skerry.server.http import Response
from skerry.server.operations import json


class BaseImages:
    """The handlers of base images."""

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        collection, item = "/v1/baseimage", "/v1/baseimage/{name}"
        return [
            Operation("POST", collection, "create", BASE_IMAGE, self.create),
            Operation("GET", collection, "list", BASE_IMAGE, self.list),
            Operation("GET", item, "get", BASE_IMAGE, self.get),
            Operation("PUT", item, "update", BASE_IMAGE, self.replace),
            Operation("DELETE", item, "delete", BASE_IMAGE, self.delete),
        ]

    async def create(self, asked: Asked) -> Response:
        """Register a base image; it is brought afterwards."""
        body = await asked.body(BaseImageBody)
        check_name(body.name)
        base = BaseImage(metadata=ObjectMeta(name=body.name), spec=_base_spec(body))
        try:
            return json(base_image_json(await asked.objects.create(base)), 201)
        except AlreadyExists as error:
            raise AlreadyExists(f"base image {body.name} already exists") from error

    async def list(self, asked: Asked) -> Response:
        """List base images."""
        wanted = wanted_applications(asked.query_list("tags"))
        found = [b async for b in asked.objects.list(BaseImage) if has_application(b.spec.tags, wanted)]
        return json([base_image_json(base) for base in found])

    async def get(self, asked: Asked) -> Response:
        """Return a base image."""
        wanted_applications(asked.query_list("tags"))
        return json(base_image_json(await asked.objects.get(BaseImage, asked.name)))

    async def replace(self, asked: Asked) -> Response:
        """Replace a base image; the images made from it are made again."""
        body = await asked.body(BaseImageBody)

        def change(base: BaseImage) -> None:
            base.spec = _base_spec(body)

        return json(base_image_json(await asked.objects.change(BaseImage, asked.name, change)) | {"status": UPDATING})

    async def delete(self, asked: Asked) -> Response:
        """Delete a base image; the images made from it stay, and can't be made again."""
        return json(base_image_json(await asked.objects.delete(BaseImage, asked.name)) | {"status": DELETING})


class Images:
    """The handlers of images."""

    def operations(self) -> list[Operation]:
        """Return what may be asked."""
        collection, item = "/v1/image", "/v1/image/{name}"
        return [
            Operation("POST", collection, "create", IMAGE, self.create),
            Operation("GET", collection, "list", IMAGE, self.list),
            Operation("GET", item, "get", IMAGE, self.get),
            Operation("PUT", item, "update", IMAGE, self.replace),
            Operation("DELETE", item, "delete", IMAGE, self.delete),
        ]

    async def create(self, asked: Asked) -> Response:
        """Register an image; it is made afterwards."""
        body = await asked.body(ImageBody)
        check_name(body.name)
        language = await _language(asked, body)
        image = Image(metadata=ObjectMeta(name=body.name), spec=_image_spec(body))
        try:
            return json(image_json(await asked.objects.create(image), language), 201)
        except AlreadyExists as error:
            raise AlreadyExists(f"image {body.name} already exists") from error

    async def list(self, asked: Asked) -> Response:
        """List images, of all languages or of one."""
        wanted, language = wanted_applications(asked.query_list("tags")), asked.query("language")
        return json(
            [
                image_json(image)
                async for image in asked.objects.list(Image)
                if has_application(image.spec.tags, wanted) and language in {"", image.status.language}
            ]
        )

    async def get(self, asked: Asked) -> Response:
        """Return an image."""
        wanted_applications(asked.query_list("tags"))
        return json(image_json(await asked.objects.get(Image, asked.name)))

    async def replace(self, asked: Asked) -> Response:
        """Replace an image; the functions made from it are made again, and serve meanwhile."""
        body = await asked.body(ImageBody)
        language = await _language(asked, body)

        def change(image: Image) -> None:
            image.spec = _image_spec(body)

        return json(image_json(await asked.objects.change(Image, asked.name, change), language) | {"status": UPDATING})

    async def delete(self, asked: Asked) -> Response:
        """Delete an image; functions made from it go on, and can't be made again."""
        return json(image_json(await asked.objects.delete(Image, asked.name)) | {"status": DELETING})


async def _language(asked: Asked, body: ImageBody) -> str:
    """Return the language of the base image that a body names; raises BadRequest where there is none such."""
    try:
        return (await asked.objects.get(BaseImage, body.base_image_name)).spec.language
    except NotFound as error:
        raise BadRequest(f"Error fetching base image {body.base_image_name}") from error


def _base_spec(body: BaseImageBody) -> BaseImageSpec:
    return BaseImageSpec(docker_url=body.docker_url, language=body.language, groups=body.groups, tags=_tags(body.tags))


def _image_spec(body: ImageBody) -> ImageSpec:
    runtime, system = body.runtime_dependencies, body.system_dependencies
    packages = [SystemPackage(name=each.name, version=each.version) for each in system.packages or ()] if system else []
    return ImageSpec(
        base_image_name=body.base_image_name,
        runtime_dependencies=RuntimeDependencies(manifest=runtime.manifest) if runtime and runtime.manifest else None,
        system_dependencies=SystemDependencies(packages=packages) if packages else None,
        groups=body.groups,
        tags=_tags(body.tags),
    )


def _tags(tags: list[TagBody] | None) -> list[Tag] | None:
    return [Tag(key=tag.key, value=tag.value) for tag in tags] if tags else None
