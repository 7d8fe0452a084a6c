output "policies" {
  description = "Names of the alert policies, by alert."
  value = merge(
    { for name, policy in google_monitoring_alert_policy.this : name => policy.name },
    { for job, policy in google_monitoring_alert_policy.job_not_running : "job-not-running/${job}" => policy.name },
  )
}

output "dashboard" {
  description = "The dashboard's id."
  value       = google_monitoring_dashboard.this.id
}
