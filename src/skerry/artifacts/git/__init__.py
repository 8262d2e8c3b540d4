"""Source code from git repositories: spoken over HTTP by our own client, unpacked by dulwich in a child process."""
