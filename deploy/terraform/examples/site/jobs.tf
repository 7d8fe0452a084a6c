# Accounts with what each pipeline uses, and the jobs.

module "service_accounts" {
  source     = "../../modules/service-accounts"
  depends_on = [google_project_service.this]

  project_id             = var.project_id
  prefix                 = "iot"
  repository             = module.artifact_registry.repository
  dataflow_bucket        = module.storage.dataflow_bucket
  launcher_members       = var.launcher_members
  predefined_worker_role = var.predefined_worker_role

  pipelines = {
    telemetry = {
      publishes = {
        telemetry    = module.pubsub.topics["telemetry"]
        dead-letters = module.pubsub.topics["telemetry-dead-letters"]
      }
      secrets = {
        password = module.secrets.secret_ids["mqtt-telemetry-password"]
        ca       = module.secrets.secret_ids["mqtt-ca"]
      }
      writes = { dead-letters = module.storage.dead_letters_bucket }
    }

    warehouse = {
      subscribes = {
        warehouse = module.pubsub.subscriptions["telemetry-warehouse"]
        archive   = module.pubsub.subscriptions["telemetry-archive"]
      }
      appends = module.bigquery.table_ids
      writes = {
        archive      = module.storage.archive_bucket
        dead-letters = module.storage.dead_letters_bucket
      }
    }

    commands = {
      publishes  = { results = module.pubsub.topics["command-results"] }
      subscribes = { commands = module.pubsub.subscriptions["commands-mqtt"] }
      secrets = {
        password = module.secrets.secret_ids["mqtt-commands-password"]
        ca       = module.secrets.secret_ids["mqtt-ca"]
      }
    }

    direct = {
      appends = module.bigquery.table_ids
      secrets = {
        password = module.secrets.secret_ids["mqtt-direct-password"]
        ca       = module.secrets.secret_ids["mqtt-ca"]
      }
      writes = { dead-letters = module.storage.dead_letters_bucket }
    }
  }
}

locals {
  ca = var.broker.private_ca ? "${module.secrets.secrets["mqtt-ca"]}/versions/${var.broker.ca_version}" : null

  shards        = tostring(var.shards)
  shards_before = var.shards_before == null ? null : tostring(var.shards_before)
}

module "telemetry" {
  source = "../../modules/dataflow-job"
  count  = var.launch ? 1 : 0

  project_id            = var.project_id
  region                = var.region
  name                  = "telemetry"
  specification         = "gs://${module.storage.dataflow_bucket}/templates/mqtt-to-pubsub-${var.releases.telemetry}.json"
  image                 = "${module.artifact_registry.image_prefix}/mqtt-to-pubsub:${var.releases.telemetry}"
  service_account_email = module.service_accounts.workers["telemetry"]
  subnetwork            = module.network.subnetwork
  dataflow_bucket       = module.storage.dataflow_bucket
  max_workers           = coalesce(var.shards_before, var.shards)
  labels                = local.labels

  transform_name_mapping = lookup(var.renamed_steps, "telemetry", {})

  parameters = {
    brokerServer          = var.broker.server
    clientId              = var.client_ids.telemetry
    username              = var.broker.usernames.telemetry
    passwordSecretId      = module.secrets.secrets["mqtt-telemetry-password"]
    caSecretId            = local.ca
    shards                = local.shards
    shardsBefore          = local.shards_before
    outputTopic           = module.pubsub.topics["telemetry"]
    outputDeadletterTopic = module.pubsub.topics["telemetry-dead-letters"]
    deadLetterBlobFolder  = "gs://${module.storage.dead_letters_bucket}/telemetry"
  }
}

module "warehouse" {
  source = "../../modules/dataflow-job"
  count  = var.launch ? 1 : 0

  project_id            = var.project_id
  region                = var.region
  name                  = "warehouse"
  specification         = "gs://${module.storage.dataflow_bucket}/templates/pubsub-to-bigquery-${var.releases.warehouse}.json"
  image                 = "${module.artifact_registry.image_prefix}/pubsub-to-bigquery:${var.releases.warehouse}"
  service_account_email = module.service_accounts.workers["warehouse"]
  subnetwork            = module.network.subnetwork
  dataflow_bucket       = module.storage.dataflow_bucket
  max_workers           = 8
  labels                = local.labels

  transform_name_mapping = lookup(var.renamed_steps, "warehouse", {})

  parameters = {
    inputSubscription     = module.pubsub.subscriptions["telemetry-warehouse"]
    outputTableSpec       = module.bigquery.tables["telemetry"]
    outputDeadletterTable = module.bigquery.tables["dead_letters"]
    deadLetterBlobFolder  = "gs://${module.storage.dead_letters_bucket}/warehouse"
    archiveSubscription   = module.pubsub.subscriptions["telemetry-archive"]
    outputDirectory       = "gs://${module.storage.archive_bucket}/telemetry"
    archiveWindowSeconds  = "300"
  }
}

module "commands" {
  source = "../../modules/dataflow-job"
  count  = var.launch ? 1 : 0

  project_id            = var.project_id
  region                = var.region
  name                  = "commands"
  specification         = "gs://${module.storage.dataflow_bucket}/templates/pubsub-to-mqtt-${var.releases.commands}.json"
  image                 = "${module.artifact_registry.image_prefix}/pubsub-to-mqtt:${var.releases.commands}"
  service_account_email = module.service_accounts.workers["commands"]
  subnetwork            = module.network.subnetwork
  dataflow_bucket       = module.storage.dataflow_bucket
  max_workers           = 2
  labels                = local.labels

  transform_name_mapping = lookup(var.renamed_steps, "commands", {})

  parameters = {
    brokerServer      = var.broker.server
    clientId          = var.client_ids.commands
    username          = var.broker.usernames.commands
    passwordSecretId  = module.secrets.secrets["mqtt-commands-password"]
    caSecretId        = local.ca
    inputSubscription = module.pubsub.subscriptions["commands-mqtt"]
    resultsTopic      = module.pubsub.topics["command-results"]
  }
}

module "direct" {
  source = "../../modules/dataflow-job"
  count  = var.launch && var.direct ? 1 : 0

  project_id            = var.project_id
  region                = var.region
  name                  = "direct"
  specification         = "gs://${module.storage.dataflow_bucket}/templates/mqtt-to-bigquery-${coalesce(var.releases.direct, "none")}.json"
  image                 = "${module.artifact_registry.image_prefix}/mqtt-to-bigquery:${coalesce(var.releases.direct, "none")}"
  service_account_email = module.service_accounts.workers["direct"]
  subnetwork            = module.network.subnetwork
  dataflow_bucket       = module.storage.dataflow_bucket
  max_workers           = coalesce(var.shards_before, var.shards)
  labels                = local.labels

  transform_name_mapping = lookup(var.renamed_steps, "direct", {})

  parameters = {
    brokerServer          = var.broker.server
    clientId              = var.client_ids.direct
    username              = var.broker.usernames.direct
    passwordSecretId      = module.secrets.secrets["mqtt-direct-password"]
    caSecretId            = local.ca
    shards                = local.shards
    shardsBefore          = local.shards_before
    outputTableSpec       = module.bigquery.tables["telemetry"]
    outputDeadletterTable = module.bigquery.tables["dead_letters"]
    deadLetterBlobFolder  = "gs://${module.storage.dead_letters_bucket}/direct"
  }
}
