"""Numbers of one pass over the data, and the data of a report."""
