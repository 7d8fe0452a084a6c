output "secrets" {
  description = "References as the pipelines take them, projects/P/secrets/S, by name: the newest version."
  value       = { for name in keys(var.secrets) : name => "projects/${var.project_id}/secrets/${name}" }

  depends_on = [google_secret_manager_secret.this]
}

output "secret_ids" {
  description = "Project and name of each secret, for grants."
  value = {
    for name, secret in google_secret_manager_secret.this : name => {
      project   = secret.project
      secret_id = secret.secret_id
    }
  }
}
