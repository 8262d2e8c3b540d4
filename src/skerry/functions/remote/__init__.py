"""Functions on engines that run elsewhere: OpenFaaS, Knative, OpenWhisk."""
