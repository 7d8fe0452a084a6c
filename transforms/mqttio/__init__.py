"""MQTT for Beam: a native source with acknowledgements at finalization, a sink with outcomes."""

from transforms.mqttio.read import ReadFromMqtt
from transforms.mqttio.settings import BrokerSettings, Login
from transforms.mqttio.source import MqttMessage, MqttShard
from transforms.mqttio.write import EncodedMessages, PublishResult, WriteToMqtt

__all__ = [
    "BrokerSettings",
    "EncodedMessages",
    "Login",
    "MqttMessage",
    "MqttShard",
    "PublishResult",
    "ReadFromMqtt",
    "WriteToMqtt",
]
