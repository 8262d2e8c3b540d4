"""The nouns: every kind as data, one module an API group. Pure; no I/O.

A kind is one declaration (`kinds.Kind`); `registry.KINDS` is the literal list of them all. Routes, discovery,
OpenAPI, tables, defaulting and validation follow from it.
"""
