output "repository" {
  description = "The repository's project, location and name, for grants."
  value = {
    project       = google_artifact_registry_repository.this.project
    location      = google_artifact_registry_repository.this.location
    repository_id = google_artifact_registry_repository.this.repository_id
  }
}

output "image_prefix" {
  description = "What stands before an image's name."
  value       = "${google_artifact_registry_repository.this.location}-docker.pkg.dev/${google_artifact_registry_repository.this.project}/${google_artifact_registry_repository.this.repository_id}"
}
