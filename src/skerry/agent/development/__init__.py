"""One function on this machine while its author works on it: built at every save, without a gateway."""
