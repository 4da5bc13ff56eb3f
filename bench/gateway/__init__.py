"""What the gateway adds to what stands behind it."""
