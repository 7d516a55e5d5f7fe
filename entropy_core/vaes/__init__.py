"""What both sides' VAEs share: sizes, weights, conversions."""
