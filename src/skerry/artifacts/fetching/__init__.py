"""How code arrives from elsewhere: registries, web servers, files; `fetcher.CodeFetcher` is the way in."""
