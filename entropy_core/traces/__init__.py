"""What one pair of traces says: records, sums, plates, enumeration, weights."""
