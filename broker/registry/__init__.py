"""Devices, services, their credentials and rights."""

from broker.registry.generate import Service, generate
from broker.registry.yaml_registry import YamlRegistry, load_registry

__all__ = ["Service", "YamlRegistry", "generate", "load_registry"]
