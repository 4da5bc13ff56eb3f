"""The services of a cluster's workers, for a gateway that has no VMs itself."""
