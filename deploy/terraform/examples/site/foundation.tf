# What stays whatever runs: network, images, buckets, tables, secrets.

locals {
  labels = { application = "mqttbeam", environment = var.environment }
}

# The provider asks for an API's use only when something of it is made, and some take minutes. The
# provider needs cloudresourcemanager and serviceusage itself to enable any: the runbook enables
# those two before the first apply.
resource "google_project_service" "this" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "bigquery.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "compute.googleapis.com",
    "dataflow.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "secretmanager.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
  ])

  project            = var.project_id
  service            = each.key
  disable_on_destroy = false
}

module "network" {
  source     = "../../modules/network"
  depends_on = [google_project_service.this]

  project_id = var.project_id
  region     = var.region
  name       = "mqttbeam"
}

module "artifact_registry" {
  source     = "../../modules/artifact-registry"
  depends_on = [google_project_service.this]

  project_id = var.project_id
  location   = var.region
  labels     = local.labels
}

module "storage" {
  source     = "../../modules/storage"
  depends_on = [google_project_service.this]

  project_id = var.project_id
  location   = var.region
  prefix     = "${var.project_id}-iot"
  labels     = local.labels
}

module "bigquery" {
  source     = "../../modules/bigquery"
  depends_on = [google_project_service.this]

  project_id = var.project_id
  location   = var.region
  dataset_id = "iot"
  labels     = local.labels
}

module "secrets" {
  source     = "../../modules/secrets"
  depends_on = [google_project_service.this]

  project_id        = var.project_id
  replica_locations = [var.region]
  rotation_topic    = module.pubsub.topics["secret-rotation"]
  first_rotation    = var.first_secret_rotation
  labels            = local.labels

  secrets = {
    mqtt-telemetry-password = { purpose = "broker-password", rotation_days = 90 }
    mqtt-commands-password  = { purpose = "broker-password", rotation_days = 90 }
    mqtt-direct-password    = { purpose = "broker-password", rotation_days = 90 }
    mqtt-ca                 = { purpose = "broker-ca" }
  }
}
