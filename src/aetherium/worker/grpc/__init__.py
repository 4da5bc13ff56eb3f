"""The worker's gRPC server: its services, for gateways."""
