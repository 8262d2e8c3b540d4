"""Who set which field, and server-side apply: field sets, schemas as merging sees them, managedFields. Pure."""
