"""The front end: few drawn slices to a proxy mask with confidence."""
