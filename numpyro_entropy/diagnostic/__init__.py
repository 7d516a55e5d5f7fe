"""The diagnostic, and what the theorem claims."""
