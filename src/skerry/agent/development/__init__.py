"""One function on this machine while its author works on it: built at every save, asked at a port of its own."""
