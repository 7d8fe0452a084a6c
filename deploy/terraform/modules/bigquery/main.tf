# Dataset, tables and views. What they are is said once, in the code (schemas/tables.py and
# schemas/bigquery): tables.json is written from it by `python -m docs.generate`.

locals {
  definitions = jsondecode(file("${path.module}/tables.json"))
  repository  = "${path.module}/../../../.."
}

resource "google_bigquery_dataset" "this" {
  project                    = var.project_id
  dataset_id                 = var.dataset_id
  location                   = var.location
  description                = "Telemetry of MQTT devices, its dead letters, and a view with each message once"
  delete_contents_on_destroy = false
  labels                     = var.labels
}

resource "google_bigquery_table" "tables" {
  for_each = local.definitions.tables

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  schema              = file("${local.repository}/${each.value.schema_file}")
  clustering          = each.value.clustered_by
  deletion_protection = var.deletion_protection
  labels              = var.labels

  time_partitioning {
    type          = "DAY"
    field         = each.value.partitioned_by
    expiration_ms = contains(keys(var.partition_expiration_days), each.key) ? var.partition_expiration_days[each.key] * 86400000 : null
  }
}

resource "google_bigquery_table" "views" {
  for_each = local.definitions.views

  project             = var.project_id
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  deletion_protection = false
  labels              = var.labels

  view {
    query          = replace(each.value.query, "{dataset}", "${var.project_id}.${google_bigquery_dataset.this.dataset_id}")
    use_legacy_sql = false
  }

  # BigQuery checks a view's query when it is made.
  depends_on = [google_bigquery_table.tables]
}
