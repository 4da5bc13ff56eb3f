"""gRPC between gateway and worker: values, errors, authentication, options. Both sides stand on it."""
