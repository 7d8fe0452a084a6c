"""What a pipeline needs to be there, said once: for its own start, a launch and a doctor."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.tables import Table as Definition
from transforms.mqttio import BrokerSettings
from transforms.secrets import SecretRef


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A secret that a worker reads; ``use`` says in a word or two what it is."""

    reference: SecretRef
    use: str

    @property
    def resource(self) -> str:
        """Its name."""
        return self.reference.reference


@dataclass(frozen=True, kw_only=True)
class Broker:
    """An MQTT broker, at each of its addresses.

    ``client_id`` is the pipeline's prefix; ``filters`` what it subscribes to, by ``$share`` where
    ``shared``; ``publishes`` the filter of the topics that it publishes to, None for none.
    """

    settings: BrokerSettings
    client_id: str
    filters: tuple[str, ...] = ()
    shared: bool = False
    publishes: str | None = None

    @property
    def resource(self) -> str:
        """Its addresses."""
        return ", ".join(map(str, self.settings.addresses))


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A Pub/Sub topic that is published to."""

    name: str

    @property
    def resource(self) -> str:
        """Its name."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A Pub/Sub subscription that is read.

    ``published`` is a topic that the pipeline publishes to: what it says there must not come back
    to it by this subscription. None for none.
    """

    name: str
    published: str | None = None

    @property
    def resource(self) -> str:
        """Its name."""
        return self.name

    def comes_back(self) -> str:
        """The words for a subscription that delivers what the pipeline publishes."""
        return (
            f"{self.name} delivers {self.published}, to which the pipeline publishes: each of its"
            " messages would come back to it; give what it publishes a topic of its own"
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """A BigQuery table, ``project.dataset.table``, that rows are appended to."""

    name: str
    definition: Definition

    @property
    def resource(self) -> str:
        """Its name."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder that files are written to, ``gs://BUCKET/FOLDER`` or of this machine.

    ``tried``: whether the pipeline can't do without it, and writes a file when it starts. Dead
    letters that are too large for their sink are cut where their folder takes none.
    """

    name: str
    tried: bool

    @property
    def resource(self) -> str:
        """Its name."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that is read, ``gs://BUCKET/FILE`` or of this machine."""

    name: str

    @property
    def resource(self) -> str:
        """Its name."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class Specification:
    """A template's specification, ``gs://BUCKET/FILE``.

    ``template`` is whose it must be; ``parameters`` the names of those given at the launch, which
    it must know; ``titles`` by each template's name what its specification calls it.
    """

    name: str
    template: str
    parameters: tuple[str, ...]
    titles: tuple[tuple[str, str], ...]

    @property
    def resource(self) -> str:
        """Its address."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class LaunchFolder:
    """A folder of Dataflow's own files, staged or temporary, ``gs://BUCKET/FOLDER``."""

    name: str

    @property
    def resource(self) -> str:
        """Its name."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class Subnetwork:
    """The workers' subnetwork, ``projects/P/regions/R/subnetworks/S``.

    ``private``: whether the workers have no public address.
    """

    name: str
    private: bool

    @property
    def resource(self) -> str:
        """Its name."""
        return self.name


@dataclass(frozen=True, kw_only=True)
class Job:
    """A Dataflow job: what its project and its service account must have.

    ``services`` are Google's by their short names, such as ``pubsub``.
    """

    project: str
    services: tuple[str, ...] = ()

    @property
    def resource(self) -> str:
        """Its project."""
        return f"projects/{self.project}"


Need = (
    Secret
    | Broker
    | Topic
    | Subscription
    | Table
    | Folder
    | File
    | Specification
    | LaunchFolder
    | Subnetwork
    | Job
)


def secrets_of(settings: BrokerSettings) -> tuple[Secret, ...]:
    """Returns the secrets by which a broker is connected to."""
    named = (
        ("MQTT password", settings.password),
        ("CA certificate", settings.ca),
        ("client certificate", settings.certificate),
        ("client certificate's key", settings.key),
    )
    return tuple(Secret(reference=ref, use=use) for use, ref in named if ref is not None)
