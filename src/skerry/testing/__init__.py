"""Fakes and fixtures, for our tests and for our users: each fake passes the contract suite of what it stands for."""
