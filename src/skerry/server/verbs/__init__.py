"""What the verbs mean, on typed parameters, without HTTP. Start at `verbs.Verbs`."""
