"""OpenAPI: schemas from the models, paths from the kinds, as documents of version 2 and 3."""
