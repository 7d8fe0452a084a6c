"""Devices, services, their credentials and rights."""

from broker.registry.generate import Service, generate
from broker.registry.yaml_registry import Registry, load_registry

__all__ = ["Registry", "Service", "generate", "load_registry"]
