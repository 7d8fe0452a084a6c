"""The MQTT connection of a Beam worker: subscribe with acknowledgements by hand, or publish.

Threads, not asyncio, because Beam calls from threads. No Beam, no cloud: usable anywhere.
"""

from mqtt.client.leaving import LeavingSubscriber
from mqtt.client.publication import Publication
from mqtt.client.publisher import Publisher
from mqtt.client.settings import BrokerAddress, ConnectionSettings, SecretReader, TlsFiles
from mqtt.client.subscriber import Batch, Subscriber
from mqtt.client.tokens import TokenSigner
from mqtt.outgoing import Message

__all__ = [
    "Batch",
    "BrokerAddress",
    "ConnectionSettings",
    "LeavingSubscriber",
    "Message",
    "Publication",
    "Publisher",
    "SecretReader",
    "Subscriber",
    "TlsFiles",
    "TokenSigner",
]
