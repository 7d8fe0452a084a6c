output "archive_bucket" {
  description = "Name of the archive's bucket."
  value       = google_storage_bucket.archive.name
}

output "dead_letters_bucket" {
  description = "Name of the bucket for large dead letters."
  value       = google_storage_bucket.dead_letters.name
}

output "dataflow_bucket" {
  description = "Name of the bucket for templates, staging and temporary files."
  value       = google_storage_bucket.dataflow.name
}
