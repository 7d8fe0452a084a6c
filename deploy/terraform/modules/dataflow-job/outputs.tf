output "job_id" {
  description = "The job's id; another one after each update."
  value       = google_dataflow_flex_template_job.this.job_id
}

output "name" {
  description = "The job's name, the same after each update: what alerts and the dashboard look for."
  value       = google_dataflow_flex_template_job.this.name
}
