"""Dispatch's front door: `/v1/function`, `/v1/runs`, `/v1/secret`."""
