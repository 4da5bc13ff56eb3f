"""Made by scripts/protos from protocol/aetherium/v1; not to be edited."""
