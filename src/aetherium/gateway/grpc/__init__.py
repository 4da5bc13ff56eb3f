"""The platform over gRPC: the package aetherium.v1, one module for each service."""
