"""gRPC: services and calls."""
