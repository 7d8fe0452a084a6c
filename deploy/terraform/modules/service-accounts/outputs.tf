output "workers" {
  description = "E-mail addresses of the workers' accounts, by pipeline; there when its rights are."
  value       = { for name, account in google_service_account.workers : name => account.email }

  # A job that starts before its rights fails at its start.
  depends_on = [
    google_artifact_registry_repository_iam_member.workers,
    google_bigquery_table_iam_member.appenders,
    google_project_iam_member.job_submitters,
    google_project_iam_member.workers,
    google_pubsub_subscription_iam_member.subscribers,
    google_pubsub_subscription_iam_member.viewers,
    google_pubsub_topic_iam_member.publishers,
    google_pubsub_topic_iam_member.viewers,
    google_secret_manager_secret_iam_member.readers,
    google_service_account_iam_member.workers_as_themselves,
    google_storage_bucket_iam_member.dataflow_bucket,
    google_storage_bucket_iam_member.dataflow_read,
    google_storage_bucket_iam_member.dataflow_write,
    google_storage_bucket_iam_member.writers,
  ]
}

output "launcher" {
  description = "E-mail address of the launcher's account."
  value       = google_service_account.launcher.email
}
