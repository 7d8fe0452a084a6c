output "dataset_id" {
  description = "The dataset's name."
  value       = google_bigquery_dataset.this.dataset_id
}

output "tables" {
  description = "Tables as the pipelines take them, PROJECT:DATASET.TABLE, by name."
  value = {
    for name, table in google_bigquery_table.tables : name => "${table.project}:${table.dataset_id}.${table.table_id}"
  }
}

output "table_ids" {
  description = "Dataset and name of each table, for grants."
  value = {
    for name, table in google_bigquery_table.tables : name => {
      project    = table.project
      dataset_id = table.dataset_id
      table_id   = table.table_id
    }
  }
}
