# One account a pipeline, for its workers and for the machine that starts it, and one for those who
# launch. Rights are given on the topic, subscription, table, secret or bucket itself.

locals {
  # A grant for each use, under a name that is known before anything is made.
  publishes  = merge([for name, each in var.pipelines : { for key, topic in each.publishes : "${name}/${key}" => { pipeline = name, topic = topic } }]...)
  subscribes = merge([for name, each in var.pipelines : { for key, subscription in each.subscribes : "${name}/${key}" => { pipeline = name, subscription = subscription } }]...)
  appends    = merge([for name, each in var.pipelines : { for key, table in each.appends : "${name}/${key}" => merge(table, { pipeline = name }) }]...)
  secrets    = merge([for name, each in var.pipelines : { for key, secret in each.secrets : "${name}/${key}" => merge(secret, { pipeline = name }) }]...)
  writes     = merge([for name, each in var.pipelines : { for key, bucket in each.writes : "${name}/${key}" => { pipeline = name, bucket = bucket } }]...)

  role_suffix = replace(var.prefix, "-", "_")
}

resource "google_service_account" "workers" {
  for_each = var.pipelines

  project      = var.project_id
  account_id   = "${var.prefix}-${each.key}"
  display_name = "Workers of ${each.key}"
  description  = "Workers and launcher machine of the ${each.key} pipeline"
}

# What every job needs of the project: the permissions of Google's own role for it, dataflow.worker,
# without those to read and make objects in every bucket of the project. Those are given below, on
# the buckets that a pipeline uses.
resource "google_project_iam_custom_role" "worker" {
  project     = var.project_id
  role_id     = "mqttbeam_worker_${local.role_suffix}"
  title       = "Works for Dataflow jobs (${var.prefix})"
  description = "What roles/dataflow.worker holds, without its rights on every bucket"
  permissions = [
    "autoscaling.sites.readRecommendations",
    "autoscaling.sites.writeMetrics",
    "autoscaling.sites.writeState",
    "compute.instanceGroupManagers.update",
    "compute.instances.delete",
    "compute.instances.setDiskAutoDelete",
    "dataflow.jobs.get",
    "dataflow.shuffle.read",
    "dataflow.shuffle.write",
    "dataflow.streamingWorkItems.ImportState",
    "dataflow.streamingWorkItems.commitWork",
    "dataflow.streamingWorkItems.getData",
    "dataflow.streamingWorkItems.getWork",
    "dataflow.streamingWorkItems.getWorkerMetadata",
    "dataflow.workItems.lease",
    "dataflow.workItems.sendMessage",
    "dataflow.workItems.update",
    "logging.logEntries.create",
    "logging.logEntries.route",
    "monitoring.timeSeries.create",
  ]
}

resource "google_project_iam_member" "workers" {
  for_each = var.pipelines

  project = var.project_id
  role    = var.predefined_worker_role ? "roles/dataflow.worker" : google_project_iam_custom_role.worker.name
  member  = google_service_account.workers[each.key].member
}

# A flex template is started by a machine that runs as the workers do, and it submits the job. The
# role for that by Google, dataflow.developer, could cancel every other job as well.
resource "google_project_iam_custom_role" "job_submitter" {
  project     = var.project_id
  role_id     = "mqttbeam_job_submitter_${local.role_suffix}"
  title       = "Submits Dataflow jobs (${var.prefix})"
  description = "For the machine that starts a flex template: submits its job, or the job's update"
  permissions = [
    "dataflow.jobs.create",
    "dataflow.jobs.get",
    "dataflow.jobs.list",
    "dataflow.jobs.updateContents",
    "dataflow.messages.list",
  ]
}

resource "google_project_iam_member" "job_submitters" {
  for_each = var.pipelines

  project = var.project_id
  role    = google_project_iam_custom_role.job_submitter.name
  member  = google_service_account.workers[each.key].member
}

# It submits a job that runs as itself.
resource "google_service_account_iam_member" "workers_as_themselves" {
  for_each = var.pipelines

  service_account_id = google_service_account.workers[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.workers[each.key].member
}

resource "google_artifact_registry_repository_iam_member" "workers" {
  for_each = var.pipelines

  project    = var.repository.project
  location   = var.repository.location
  repository = var.repository.repository_id
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.workers[each.key].member
}

resource "google_storage_bucket_iam_member" "dataflow_read" {
  for_each = var.pipelines

  bucket = var.dataflow_bucket
  role   = "roles/storage.objectViewer"
  member = google_service_account.workers[each.key].member
}

# A bucket's own settings, which Google's roles for objects leave out and dataflow.worker has.
resource "google_project_iam_custom_role" "bucket_viewer" {
  project     = var.project_id
  role_id     = "mqttbeam_bucket_viewer_${local.role_suffix}"
  title       = "Sees a bucket's settings (${var.prefix})"
  description = "For Dataflow and Beam, which look at the bucket of their files before they write"
  permissions = ["storage.buckets.get"]
}

resource "google_storage_bucket_iam_member" "dataflow_bucket" {
  for_each = var.pipelines

  bucket = var.dataflow_bucket
  role   = google_project_iam_custom_role.bucket_viewer.name
  member = google_service_account.workers[each.key].member
}

# Not templates/: whoever changes a specification there chooses what the next launch runs.
# And not what another pipeline has staged, which its workers run.
resource "google_storage_bucket_iam_member" "dataflow_write" {
  for_each = var.pipelines

  bucket = var.dataflow_bucket
  role   = "roles/storage.objectUser"
  member = google_service_account.workers[each.key].member

  condition {
    title      = "staging and temporary files"
    expression = "resource.name.startsWith(\"projects/_/buckets/${var.dataflow_bucket}/objects/staging/${each.key}/\") || resource.name.startsWith(\"projects/_/buckets/${var.dataflow_bucket}/objects/temp/${each.key}/\")"
  }
}

# What this pipeline uses. The viewer's role is for the check at the start, which asks for each
# topic and subscription, and for Dataflow, which asks for the subscription.

resource "google_pubsub_topic_iam_member" "publishers" {
  for_each = local.publishes

  project = var.project_id
  topic   = each.value.topic
  role    = "roles/pubsub.publisher"
  member  = google_service_account.workers[each.value.pipeline].member
}

resource "google_pubsub_topic_iam_member" "viewers" {
  for_each = local.publishes

  project = var.project_id
  topic   = each.value.topic
  role    = "roles/pubsub.viewer"
  member  = google_service_account.workers[each.value.pipeline].member
}

resource "google_pubsub_subscription_iam_member" "subscribers" {
  for_each = local.subscribes

  project      = var.project_id
  subscription = each.value.subscription
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.workers[each.value.pipeline].member
}

resource "google_pubsub_subscription_iam_member" "viewers" {
  for_each = local.subscribes

  project      = var.project_id
  subscription = each.value.subscription
  role         = "roles/pubsub.viewer"
  member       = google_service_account.workers[each.value.pipeline].member
}

# Google's own role for writers, bigquery.dataEditor, could read and delete the table as well.
resource "google_project_iam_custom_role" "appender" {
  project     = var.project_id
  role_id     = "mqttbeam_appender_${local.role_suffix}"
  title       = "Appends rows (${var.prefix})"
  description = "For the Storage Write API: sees a table's columns and appends to it"
  permissions = ["bigquery.tables.get", "bigquery.tables.updateData"]
}

resource "google_bigquery_table_iam_member" "appenders" {
  for_each = local.appends

  project    = each.value.project
  dataset_id = each.value.dataset_id
  table_id   = each.value.table_id
  role       = google_project_iam_custom_role.appender.name
  member     = google_service_account.workers[each.value.pipeline].member
}

resource "google_secret_manager_secret_iam_member" "readers" {
  for_each = local.secrets

  project   = each.value.project
  secret_id = each.value.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.workers[each.value.pipeline].member
}

# The check at the start writes an object and removes it.
resource "google_storage_bucket_iam_member" "writers" {
  for_each = local.writes

  bucket = each.value.bucket
  role   = "roles/storage.objectUser"
  member = google_service_account.workers[each.value.pipeline].member
}

# Whoever launches, updates, drains: no right to read a secret, a message or a row.

resource "google_service_account" "launcher" {
  project      = var.project_id
  account_id   = "${var.prefix}-launcher"
  display_name = "Launcher"
  description  = "Launches, updates, drains and cancels the Dataflow jobs"
}

# The viewers are for a job's log and its dashboard, which are where an alert leads.
resource "google_project_iam_member" "launcher" {
  for_each = toset(["roles/dataflow.developer", "roles/logging.viewer", "roles/monitoring.viewer"])

  project = var.project_id
  role    = each.key
  member  = google_service_account.launcher.member
}

resource "google_service_account_iam_member" "launcher_as_workers" {
  for_each = var.pipelines

  service_account_id = google_service_account.workers[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.launcher.member
}

resource "google_storage_bucket_iam_member" "launcher" {
  bucket = var.dataflow_bucket
  role   = "roles/storage.objectUser"
  member = google_service_account.launcher.member
}

resource "google_service_account_iam_member" "launcher_members" {
  for_each = var.launcher_members

  service_account_id = google_service_account.launcher.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = each.key
}
