"""What the papers prove: closed forms, directions, claims."""
