"""What Aetherium is about: frozen values, lifecycles and errors. Standard library only, no I/O."""
